//! Putting devices back: which ones, where to, and noting how they got on.
//!
//! Callers lock the rollout first ([`crate::rollouts::lock`]), so that changes of one rollout come one
//! after the other.

mod find;
mod past;
mod write;

pub use find::{
    Good, Scope, batch_ended, candidates, failed_sample, good_images, rolling_back,
    rollouts_to_put_back, rollouts_with_commands, rollouts_with_failures, status_of,
    still_rolling_back,
};
pub use past::{tag_before, unproved_images};
pub use write::{PutBack, mark, put_back};
