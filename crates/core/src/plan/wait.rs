//! What a rollout that does not move waits for.

use chrono::{DateTime, SecondsFormat, Utc};
use windlass_types::rollout::StatusReason;

/// What a rollout waits for. `Display` says it to a person, with the time where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A person's approval.
    Approval,
    /// The time at which it is to begin.
    StartTime,
    /// The devices of the present batch.
    Devices {
        /// The batch, from 1.
        batch: i64,
        /// How many there are.
        batches: i64,
        /// Devices that are not done.
        open: i64,
        /// Devices in it.
        total: i64,
        /// When the last of them is judged at the latest, as far as is known.
        until: Option<DateTime<Utc>>,
    },
    /// The delay between two batches.
    Delay {
        /// The batch that starts then.
        batch: i64,
        /// When.
        until: DateTime<Utc>,
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

impl Wait {
    /// When the wait ends by itself, where that is known.
    #[must_use]
    pub const fn until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Devices { until, .. } => *until,
            Self::Delay { until, .. } => Some(*until),
            Self::Approval
            | Self::StartTime
            | Self::Budget { .. }
            | Self::Operator { .. }
            | Self::Rollback => None,
        }
    }
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Approval => f.write_str("an operator's approval"),
            Self::StartTime => f.write_str("its start time"),
            Self::Devices {
                batch,
                batches,
                open,
                total,
                until,
            } => {
                write!(f, "{open} of {total} devices of batch {batch} of {batches}")?;
                match until {
                    Some(until) => write!(f, ", judged at the latest by {}", time(*until)),
                    None => Ok(()),
                }
            }
            Self::Delay { batch, until } => {
                write!(f, "the delay before batch {batch}, until {}", time(*until))
            }
            Self::Budget { detail } => write!(f, "the pause that its failures call for: {detail}"),
            Self::Operator { reason, detail } => {
                f.write_str("an operator to resume or cancel it")?;
                match (reason, detail) {
                    (Some(StatusReason::Operator), Some(detail)) => {
                        write!(f, "; it was paused by hand: {detail}")
                    }
                    (_, Some(detail)) => write!(f, "; it is paused: {detail}"),
                    (Some(reason), None) => write!(f, "; it is paused: {reason}"),
                    (None, None) => Ok(()),
                }
            }
            Self::Rollback => f.write_str("its devices to be put back"),
        }
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
