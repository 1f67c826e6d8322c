//! health-checker: judges each updated device from its reports.
//!
//! * Owns: verdicts, and what each device proved healthy or failed on.
//! * Never: changes a target or a rollout; what follows from a verdict is rollback-manager's.
//! * Woken by: `device.state_changed` in the event log, deadlines, and devices that come back.
//! * Test it with: `scripts/test -p windlass-health-checker`.
//!
//! The rules are in `windlass_core::verdict`. Each pass takes one group of devices in one
//! transaction, with its place in the event log, so that every verdict and its events come once.

mod pass;
mod run;
mod targets;

pub use pass::{Counter, due, reports, returned};
pub use run::{main, part};

/// The name under which this service reads the event log, and that its events carry.
pub const NAME: &str = "health-checker";
