//! The program as people and scripts use it: the real binary against a real `windlass up`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails in a test is to end the test"
)]

mod commands;
mod demo;
mod document;
mod first_key;
mod offline;
mod operations;
mod policies;
mod registries;
mod restart;
mod server;
mod versions;
mod webhooks;
mod why;
