//! The device protocol on the wire: the real service on a free port, on both databases.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unreachable,
    unreachable_pub,
    reason = "tests are to fail loudly"
)]

mod api;
mod lane;
mod logs;
mod polls;
mod presence;
mod provisioning;
mod refusals;
mod replicas;
mod reports;
