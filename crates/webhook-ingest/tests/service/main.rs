//! The real service over HTTP, on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests are to fail loudly"
)]

mod answering;
mod authentication;
mod bodies;
mod busy;
mod counting;
mod duplicates;
mod facts;
mod health;
mod inbox;
mod limits;
mod listing;
mod permission;
mod pushing;
mod races;
mod registries;
mod resolving;
mod retention;
mod signing;
mod sns;
mod support;
mod tables;
mod tokens;
mod watching;
