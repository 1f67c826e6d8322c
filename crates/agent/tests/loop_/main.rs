//! The whole agent on an engine in memory, with the real state-api.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests are to fail loudly"
)]

mod engine;
mod going_on;
mod logs;
mod own;
mod updates;
mod world;
