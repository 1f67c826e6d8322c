//! Putting devices back: which ones, where to, and noting how they got on.
//!
//! Callers lock the rollout first ([`crate::rollouts::lock`]), so that changes of one rollout come one
//! after the other.

mod budgets;
mod candidates;
mod deleted;
mod find;
mod order;
mod past;
mod write;

pub use budgets::{WithFailures, counted, rollouts_with_failures};
pub use candidates::{Candidates, Presence, Scope, candidates};
pub use deleted::{Left, let_deleted_go};
pub use find::{
    Good, batch_ended, failed_sample, good_images, rolling_back, rollouts_to_put_back,
    rollouts_with_commands, status_of, still_rolling_back,
};
pub use order::{Queue, Which, before, on_the_way, order, queue, rollouts_with_late_failures};
pub use past::{tag_before, unproved_images};
pub use write::{PutBack, mark, put_back, skip_never_admitted};
