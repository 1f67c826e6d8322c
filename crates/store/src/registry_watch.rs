//! The watch over registries: which repositories are looked at and when, what their tags named, and
//! what looking found that no webhook had told of.

mod finds;
mod roster;
mod seed;
mod tags;

pub use finds::{expected, found, list, missed, next_settling, settle, told};
pub use roster::{Claimed, Looked, claim, in_use, keep, looked, next_look};
pub use seed::seed;
pub use tags::{Known, Present, known, present, remember, running, webhook_at};
