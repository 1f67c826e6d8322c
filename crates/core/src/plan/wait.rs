//! What a rollout that does not move waits for: the first gate that holds, since when, until when.

mod sentence;

use chrono::{DateTime, Utc};
use serde::Serialize;
use windlass_types::freeze::FreezeKind;
use windlass_types::ids::FreezeId;
use windlass_types::rollout::StatusReason;

/// What a rollout waits for. `Display` says it to a person, with the time where there is one; as JSON
/// it is an object whose `for` is [`Wait::name`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Wait {
    /// The end of a freeze: nobody is admitted anywhere.
    Frozen {
        /// The freeze; where several are in force, the one that ends last.
        freeze: FreezeId,
        /// What kind it is.
        kind: FreezeKind,
        /// Why it was made.
        reason: String,
        /// Since when.
        since: DateTime<Utc>,
        /// When none of the freezes there are is in force any more; not known where one lasts until
        /// it is lifted.
        until: Option<DateTime<Utc>>,
    },
    /// People's approval.
    Approval {
        /// The batch, from 1.
        batch: i64,
        /// What is approved.
        of: ApprovalOf,
        /// Who approved already.
        have: Vec<String>,
        /// How many different people must.
        need: usize,
        /// Since when it waits for that.
        since: Option<DateTime<Utc>>,
    },
    /// The time at which it is to begin.
    StartTime {
        /// When.
        at: DateTime<Utc>,
    },
    /// A maintenance window.
    Window {
        /// The batch, from 1.
        batch: i64,
        /// Devices that could be admitted were it open.
        devices: i64,
        /// Their time zones; none for devices without one.
        zones: Vec<Option<String>>,
        /// When one opens for any of them; not known where none does within the years looked at.
        opens_at: Option<DateTime<Utc>>,
    },
    /// A limit inside the batch.
    Limit {
        /// The batch, from 1.
        batch: i64,
        /// Devices it holds back.
        devices: i64,
        /// Which one.
        limit: Limit,
        /// When it lets the next device through: at the latest, where it frees up by verdicts.
        until: Option<DateTime<Utc>>,
    },
    /// Devices that failed for reasons that are not the image's, to be tried again.
    Retry {
        /// The batch, from 1.
        batch: i64,
        /// How many.
        devices: i64,
        /// When the first of them is.
        at: DateTime<Utc>,
    },
    /// The devices of the present batch.
    Devices {
        /// The batch, from 1.
        batch: i64,
        /// How many there are.
        batches: i64,
        /// Devices that are not done: also those of earlier batches that are tried again with it.
        open: i64,
        /// Devices in it, and those that are tried again with it.
        total: i64,
        /// When the last of them is judged at the latest, as far as is known.
        until: Option<DateTime<Utc>>,
    },
    /// The canary's devices, that run the image and are watched.
    Soak {
        /// Devices that are watched.
        open: i64,
        /// Devices in the canary.
        total: i64,
        /// When the last of them is judged at the latest, as far as is known.
        until: Option<DateTime<Utc>>,
    },
    /// The delay between two batches, or the time for which two versions are held beside each other.
    Delay {
        /// The batch that starts then.
        batch: i64,
        /// Whether two versions are held beside each other.
        hold: bool,
        /// When it began.
        since: DateTime<Utc>,
        /// When it ends.
        until: DateTime<Utc>,
    },
    /// The checks of the present batch as a whole.
    Checks {
        /// The batch, from 1.
        batch: i64,
        /// The names of those that are not decided.
        open: Vec<String>,
        /// When the last of them is decided at the latest, as far as is known.
        until: Option<DateTime<Utc>>,
    },
    /// The failure budget is used up; it is about to be paused.
    Budget {
        /// The numbers.
        detail: String,
    },
    /// It is paused until an operator resumes it.
    Operator {
        /// Why.
        reason: Option<StatusReason>,
        /// The same for people.
        detail: Option<String>,
    },
    /// Its devices are put back.
    Rollback,
}

/// What is approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalOf {
    /// The rollout as a whole.
    Rollout,
    /// One batch.
    Batch,
    /// That the new one of two compared versions goes to all.
    Promotion,
}

/// A limit inside a batch, with its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "limit", rename_all = "snake_case")]
pub enum Limit {
    /// Devices in flight.
    InFlight {
        /// How many are.
        in_flight: i64,
        /// How many may be.
        at_most: i64,
    },
    /// Devices admitted in a minute.
    PerMinute {
        /// How many were.
        admitted: i64,
        /// How many may be, at the present step of the ramp.
        at_most: i64,
    },
    /// Devices unavailable at once with the same value of a tag.
    Unavailable {
        /// The tags that are limited.
        tags: Vec<String>,
    },
}

impl Wait {
    /// Its name, as in its JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Frozen { .. } => "frozen",
            Self::Approval { .. } => "approval",
            Self::StartTime { .. } => "start_time",
            Self::Window { .. } => "window",
            Self::Limit { .. } => "limit",
            Self::Retry { .. } => "retry",
            Self::Devices { .. } => "devices",
            Self::Soak { .. } => "soak",
            Self::Delay { .. } => "delay",
            Self::Checks { .. } => "checks",
            Self::Budget { .. } => "budget",
            Self::Operator { .. } => "operator",
            Self::Rollback => "rollback",
        }
    }

    /// Since when it waits for that, where that is known.
    #[must_use]
    pub const fn since(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Frozen { since, .. } | Self::Delay { since, .. } => Some(*since),
            Self::Approval { since, .. } => *since,
            Self::StartTime { .. }
            | Self::Window { .. }
            | Self::Limit { .. }
            | Self::Retry { .. }
            | Self::Devices { .. }
            | Self::Soak { .. }
            | Self::Checks { .. }
            | Self::Budget { .. }
            | Self::Operator { .. }
            | Self::Rollback => None,
        }
    }

    /// When the wait ends by itself, or does at the latest, where that is known.
    #[must_use]
    pub const fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Frozen { until, .. }
            | Self::Limit { until, .. }
            | Self::Devices { until, .. }
            | Self::Soak { until, .. }
            | Self::Checks { until, .. } => *until,
            Self::Window { opens_at, .. } => *opens_at,
            Self::Delay { until: at, .. } | Self::StartTime { at } | Self::Retry { at, .. } => {
                Some(*at)
            }
            Self::Approval { .. }
            | Self::Budget { .. }
            | Self::Operator { .. }
            | Self::Rollback => None,
        }
    }

    /// Whether the planner itself must look again at [`Wait::until`]: nothing else happens then that
    /// would wake it.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        match self {
            Self::Frozen { .. }
            | Self::StartTime { .. }
            | Self::Window { .. }
            | Self::Retry { .. }
            | Self::Delay { .. } => true,
            Self::Limit { limit, .. } => matches!(limit, Limit::PerMinute { .. }),
            Self::Approval { .. }
            | Self::Devices { .. }
            | Self::Soak { .. }
            | Self::Checks { .. }
            | Self::Budget { .. }
            | Self::Operator { .. }
            | Self::Rollback => false,
        }
    }
}
