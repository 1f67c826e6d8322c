//! rollback-manager: holds what goes wrong, and puts it back.
//!
//! * Owns: failure budgets, pausing, quarantine, rollbacks of devices, batches and whole rollouts,
//!   devices that are set aside for a time.
//! * Never: judges a device on its new image, or admits one.
//! * Woken by: failed verdicts, operators' commands, reports of devices on their way back.
//! * Test it with: `scripts/test -p windlass-rollback-manager`.
//!
//! The rules are in `windlass_core::budget`, `windlass_core::rollback` and `windlass_core::penalty`. Each pass takes one rollout
//! or one group of devices in one transaction, under the rollout's lock.

mod back;
mod budgets;
mod commands;
mod each;
mod finish;
mod outcome;
mod penalties;
mod put_back;
mod run;
mod verify;

pub use budgets::run as budgets;
pub use commands::run as commands;
pub use finish::run as finish;
pub use penalties::{rule as penalty_rule, run as penalties};
pub use put_back::run as put_back;
pub use run::{main, part};
pub use verify::{due, reports};

/// The name under which this service reads the event log, and that its events carry.
pub const NAME: &str = "rollback-manager";
