//! The operator's API over HTTP, on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests are to fail loudly"
)]

mod commands;
mod devices;
mod document;
mod events;
mod freezes;
mod guards;
mod harness;
mod holds;
mod images;
mod operator_keys;
mod penalties;
mod plans;
mod policies;
mod provisioning_keys;
mod quarantine;
mod rollouts;
mod why;
mod why_passes;
