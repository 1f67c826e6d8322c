//! What the crate promises, tried on an engine that is a few lines long.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cases;
mod laws;
mod lives;
mod model;
mod reading;
mod rest;
mod watch;
