//! rollback-manager: holds what goes wrong, and puts it back.
//!
//! * Owns: failure budgets, pausing, quarantine, rollbacks of devices and of whole rollouts.
//! * Never: judges a device on its new image, or admits one.
//! * Woken by: failed verdicts, operators' commands, reports of devices on their way back.
//! * Test it with: `scripts/test -p windlass-rollback-manager`.
//!
//! The rules are in `windlass_core::budget` and `windlass_core::rollback`. Each pass takes one rollout
//! or one group of devices in one transaction, under the rollout's lock.

mod budgets;
mod commands;
mod each;
mod finish;
mod put_back;
mod run;
mod verify;

pub use budgets::run as budgets;
pub use commands::run as commands;
pub use finish::run as finish;
pub use put_back::run as put_back;
pub use run::{main, part};
pub use verify::{due, reports};

/// The name under which this service reads the event log, and that its events carry.
pub const NAME: &str = "rollback-manager";
