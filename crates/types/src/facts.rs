//! What a decision about a rollout rests on.

use crate::freeze::Freeze;
use crate::rollout::{Approval, BatchProgress, Command, GateCheck, Rollout};
use chrono::{DateTime, Utc};

/// Everything the next step of a rollout depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutFacts {
    /// The rollout.
    pub rollout: Rollout,
    /// Its batches, first to last.
    pub batches: Vec<BatchProgress>,
    /// What counts against its failure budget.
    pub failures: FailureCount,
    /// Commands nobody has carried out yet, oldest first.
    pub commands: Vec<Command>,
    /// Whether its digest is in quarantine for all devices.
    pub quarantined: bool,
    /// Why its image lacks the signature that its policy wants now, where it wants one.
    pub unsigned: Option<String>,
    /// Devices of earlier batches that were admitted along with the present one, to be tried again, and
    /// are on their way.
    pub tried_again: i64,
    /// Until when the devices on their way are judged at the latest.
    pub devices_until: Option<DateTime<Utc>>,
    /// Freezes that were not lifted and have not ended.
    pub freezes: Vec<Freeze>,
    /// Who approved which batch.
    pub approvals: Vec<Approval>,
    /// The gate checks of the batch admitted last.
    pub checks: Vec<GateCheck>,
    /// Devices that could be admitted: of the present batch and those before it where they have any
    /// left, else of the next batch that has any.
    pub waiting: Waiting,
    /// Slices admitted in the last minute, oldest first.
    pub admitted_lately: Vec<Slice>,
}

/// The verdicts that count against a rollout's failure budget: all of them, or those since a person
/// last resumed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureCount {
    /// Devices by batch; only `batch`, `attempted`, `attempted_failed`, `environment_failed` and
    /// `went_silent` are set. Classes that the digest is in quarantine for are left out.
    pub batches: Vec<BatchProgress>,
    /// Whether the latest verdicts are failures, newest first: as many as the rule needs.
    pub latest_failed: Vec<bool>,
    /// Devices that were admitted: what shares of silent devices and of failures that are not the
    /// image's are shares of. Counted only where there are any.
    pub admitted: i64,
    /// The same for each value of `failure.quarantine_by`, ordered by it; empty without that rule.
    pub classes: Vec<ClassCount>,
}

/// The verdicts of the devices of one class, which have the same value of a tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassCount {
    /// The tag's value; empty for devices without it.
    pub value: String,
    /// Devices judged healthy or failed.
    pub attempted: i64,
    /// Those judged failed.
    pub failed: i64,
    /// Whether the latest verdicts are failures, newest first: as many as the rule needs.
    pub latest_failed: Vec<bool>,
    /// Whether the digest is in quarantine for it already.
    pub quarantined: bool,
}

/// Devices that are not admitted yet and whose turn it is, or is next. A device that is tried again
/// waits in its own batch, which may be one before the present one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The batch they are admitted with, from 1: the present one where any device in it or in one
    /// before it is pending, else the next one with pending devices.
    pub batch: i64,
    /// By time zone, ordered by it.
    pub zones: Vec<ZoneWaiting>,
    /// Of those whose window is open and whose retry is due, how many the limits by
    /// tag let through now: `pending` of them where the rule has no such limits.
    pub admissible: i64,
    /// When the next of those that wait for a retry may be admitted.
    pub retry_at: Option<DateTime<Utc>>,
}

/// Devices of one time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneWaiting {
    /// Their zone; none for devices without one.
    pub time_zone: Option<String>,
    /// How many are pending, those that wait for a retry included.
    pub pending: i64,
    /// How many of them wait for a retry that is not due.
    pub later: i64,
}

/// Devices that were admitted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// When.
    pub at: DateTime<Utc>,
    /// How many.
    pub devices: i64,
}
