//! The agent's way to a server, against a stand-in that answers what a test wants.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests are to fail loudly"
)]

mod polling;
mod provisioning;
mod reporting;
mod stand_in;
