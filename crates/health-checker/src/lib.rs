//! health-checker: judges each updated device from its reports, and runs checks.
//!
//! * Owns: verdicts, what each device proved healthy or failed on, and what came of checks.
//! * Never: changes a target or a rollout; what follows from a verdict is rollback-manager's.
//! * Never: asks anybody whom `health.allowed_targets` does not name.
//! * Woken by: `device.state_changed` in the event log, deadlines, devices that come back, checks that
//!   are due, and batches that are complete.
//! * Test it with: `scripts/test -p windlass-health-checker`.
//!
//! The rules are in `windlass_core::verdict`. Each pass takes one group of devices in one
//! transaction, with its place in the event log, so that every verdict and its events come once.

mod ask;
mod device_checks;
mod gates;
mod pass;
mod run;
mod targets;

pub use device_checks::device_checks;
pub use gates::gates;
pub use pass::{Counter, due, reports, returned};
pub use run::{main, part};

/// The name under which this service reads the event log, and that its events carry.
pub const NAME: &str = "health-checker";
