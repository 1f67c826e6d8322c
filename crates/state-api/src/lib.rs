//! The `state-api` service: what devices and operators talk to.
//!
//! * Owns: the device protocol (docs/device-protocol.md), the management API, live events; the only
//!   writer of devices, reports, presence, device logs, policies, operators' commands and targets set
//!   by hand.
//! * Never: plans a rollout, judges a device or puts one back. It stores what it is told and answers
//!   from what is stored.
//! * Woken by: requests. The cache of devices follows the event log, rung by the bus and at least once
//!   a second.
//! * Test it with: `scripts/test -p windlass-state-api`.

mod app;
mod asks;
mod auth;
mod bodies;
mod cache;
mod device;
mod first_key;
mod follow;
mod limit;
mod lookups;
mod metrics;
mod openapi;
mod operator;
mod presence;
mod report_writer;
mod routes;
mod run;
mod sse;
mod upkeep;

pub use device::judged;
pub use first_key::ensure_operator_key;
pub use report_writer::{Outcome, Said, write as write_reports};
pub use run::{main, part};
