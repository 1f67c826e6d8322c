//! Whether a report tells of now or of earlier.

use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::observation::Observation;
use windlass_types::report::Report;

/// What a report is, seen from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It tells what is now.
    Current,
    /// An existing agent replays it: it names no version.
    History,
    /// It has been received before.
    Duplicate,
    /// The device made it before one that was received already.
    Older,
}

/// How far a device's clock may be ahead of ours before it counts as wrong.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

/// Reports are replayed right after a fresh one. One that is older by the device's clock, but comes
/// when nothing fresh has come for this long, means that the clock was set back: devices without
/// a battery for theirs do that at each start.
const REPLAY: TimeDelta = TimeDelta::minutes(15);

/// Judges where a report stands in the order of its device's reports.
pub(super) fn kind_of(previous: &Observation, report: &Report, received_at: DateTime<Utc>) -> Kind {
    if report.report_id.is_some() && report.report_id == previous.last_report_id {
        return Kind::Duplicate;
    }
    let newer = match (report.reported_at, previous.last_reported_at) {
        (Some(made), Some(last)) => {
            if made < last {
                let was_ahead = last > received_at + AHEAD && made <= received_at + AHEAD;
                let set_back = previous
                    .last_report_at
                    .is_some_and(|at| received_at - at > REPLAY);
                if !was_ahead && !set_back {
                    return Kind::Older;
                }
                true
            } else if made == last {
                // Ids of version 7 made in one millisecond still tell which came first.
                match (report.report_id, previous.last_report_id) {
                    (Some(id), Some(last_id)) if id < last_id => return Kind::Older,
                    (Some(_), Some(_)) => true,
                    (Some(_), None) | (None, Some(_)) | (None, None) => false,
                }
            } else {
                true
            }
        }
        (Some(_), None) => true,
        (None, Some(_) | None) => false,
    };
    if newer || report.version.is_some() {
        Kind::Current
    } else {
        Kind::History
    }
}
