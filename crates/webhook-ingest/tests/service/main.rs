//! The real service over HTTP, on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests are to fail loudly"
)]

mod answering;
mod authentication;
mod bodies;
mod counting;
mod duplicates;
mod listing;
mod races;
mod registries;
mod resolving;
mod retention;
mod support;
mod tables;
