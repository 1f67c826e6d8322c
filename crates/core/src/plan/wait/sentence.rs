//! The same in a sentence.

use super::{ApprovalOf, Limit, Wait};
use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt::{Display, Formatter, Result};
use windlass_types::freeze::FreezeKind;
use windlass_types::rollout::StatusReason;

impl Display for Wait {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Frozen {
                kind,
                reason,
                until,
                ..
            } => {
                let what = match kind {
                    FreezeKind::Freeze => "the end of a freeze",
                    FreezeKind::Stop => "the stop of all rollouts to be lifted",
                };
                write!(f, "{what} ({reason})")?;
                by(f, ", until", *until)
            }
            Self::Approval {
                batch,
                of,
                have,
                need,
                ..
            } => approval(f, *batch, *of, have, *need),
            Self::StartTime { at } => write!(f, "its start time, {}", time(*at)),
            Self::Window {
                batch,
                devices,
                opens_at,
                ..
            } => {
                write!(
                    f,
                    "a maintenance window for {devices} devices of batch {batch}"
                )?;
                match opens_at {
                    Some(at) => write!(f, ", the next opens at {}", time(*at)),
                    None => f.write_str(", none opens in the years to come"),
                }
            }
            Self::Limit {
                batch,
                devices,
                limit,
                until,
            } => {
                write!(
                    f,
                    "a limit, for {devices} devices of batch {batch}: {limit}"
                )?;
                by(f, ", at the latest until", *until)
            }
            Self::Retry { batch, devices, at } => write!(
                f,
                "{devices} devices of batch {batch} to be tried again, the first at {}",
                time(*at)
            ),
            Self::Devices {
                batch,
                batches,
                open,
                total,
                until,
            } => {
                write!(f, "{open} of {total} devices of batch {batch} of {batches}")?;
                by(f, ", judged at the latest by", *until)
            }
            Self::Soak { open, total, until } => {
                write!(
                    f,
                    "{open} of {total} devices of the canary, which run the image and are watched"
                )?;
                by(f, ", judged at the latest by", *until)
            }
            Self::Delay {
                batch, hold, until, ..
            } => {
                if *hold {
                    f.write_str("the time for which both versions are held beside each other")?;
                } else {
                    write!(f, "the delay before batch {batch}")?;
                }
                write!(f, ", until {}", time(*until))
            }
            Self::Checks { batch, open, until } => {
                write!(f, "the checks of batch {batch}: {}", open.join(", "))?;
                by(f, ", decided at the latest by", *until)
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

fn approval(
    f: &mut Formatter<'_>,
    batch: i64,
    of: ApprovalOf,
    have: &[String],
    need: usize,
) -> Result {
    match of {
        ApprovalOf::Rollout => f.write_str("an operator's approval")?,
        ApprovalOf::Batch => write!(f, "an operator's approval of batch {batch}")?,
        ApprovalOf::Promotion => f.write_str(
            "an operator to promote the new version by approving it, or to roll it back",
        )?,
    }
    if need > 1 {
        write!(f, ": {} of {need} people approved", have.len())?;
        if !have.is_empty() {
            write!(f, " ({})", have.join(", "))?;
        }
    }
    Ok(())
}

impl Display for Limit {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::InFlight { in_flight, at_most } => {
                write!(
                    f,
                    "{in_flight} devices are on their way, at most {at_most} may be"
                )
            }
            Self::PerMinute { admitted, at_most } => write!(
                f,
                "{admitted} devices were admitted in the last minute, at most {at_most} may be"
            ),
            Self::Unavailable { tags } => write!(
                f,
                "too many devices with the same {} would be unavailable at once",
                tags.join(" or ")
            ),
        }
    }
}

fn by(f: &mut Formatter<'_>, words: &str, at: Option<DateTime<Utc>>) -> Result {
    at.map_or(Ok(()), |at| write!(f, "{words} {}", time(at)))
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
