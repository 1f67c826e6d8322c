//! The agent as a process, on a real Docker engine and a real registry, with a stand-in for the server.
//!
//! Each test has a scope of its own on the engine that all share; those that restart or fill an engine have
//! one of their own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests are to fail loudly"
)]

mod adoption;
mod bench;
mod disk;
mod failures;
mod hand_over;
mod itself;
mod kills;
mod locks;
mod logs;
mod outages;
mod probes;
mod registries;
mod server;
mod specs;
mod updates;
