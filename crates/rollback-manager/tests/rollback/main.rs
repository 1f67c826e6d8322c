//! Pausing, quarantine and putting back, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests are to fail loudly"
)]

mod actions;
mod budgets;
mod classes;
mod crashes;
mod damaged;
mod devices;
mod penalties;
mod quarantine;
mod replicas;
mod retries;
mod whole;
mod world;
