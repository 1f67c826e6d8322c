//! `windlass up --agent` as a process, on a Docker engine and a registry of the test's own, with containers that
//! somebody else made.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests are to fail loudly"
)]

mod engine;
mod hands;
mod kept;
mod kills;
mod machine;
mod refused;
mod restored;
mod updates;
