//! How a check gets on, try by try.

use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::policy::Check;
use windlass_types::rollout::CheckStatus;

/// What one try of a check amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// A yes: the check has passed.
    Passed,
    /// A no; the check fails by so many of them in a row.
    Failed,
    /// A no for good, whatever further tries would say.
    Refused,
    /// Neither: no data, or the other side asks to wait.
    Undecided,
    /// It cannot be run, and waiting would not change that.
    Impossible,
}

/// Where a check stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What became of it.
    pub status: CheckStatus,
    /// Tries in a row that failed.
    pub failed_in_row: i64,
    /// When it is tried again; none once it is decided.
    pub next_at: Option<DateTime<Utc>>,
}

/// Where a check stands after a try. One yes passes, `retry_count` times no in a row fail, and a check
/// that is neither when its time is over is inconclusive: no data is no pass. A try that says
/// neither does not break a row of failures, or a service that answers every other time would be
/// tried to the end of its time.
#[must_use]
pub fn advance(
    failed_in_row: i64,
    outcome: Try,
    check: &Check,
    deadline_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Progress {
    let decided = |status, failed_in_row| Progress {
        status,
        failed_in_row,
        next_at: None,
    };
    let failed_in_row = match outcome {
        Try::Passed => return decided(CheckStatus::Passed, 0),
        Try::Refused => return decided(CheckStatus::Failed, failed_in_row + 1),
        Try::Impossible => return decided(CheckStatus::Inconclusive, failed_in_row),
        Try::Failed => failed_in_row.saturating_add(1),
        Try::Undecided => failed_in_row,
    };
    if failed_in_row >= i64::from(check.retry_count.max(1)) {
        return decided(CheckStatus::Failed, failed_in_row);
    }
    if now >= deadline_at {
        return decided(CheckStatus::Inconclusive, failed_in_row);
    }
    let next_at = now + TimeDelta::seconds(i64::from(check.interval_seconds.max(1)));
    Progress {
        status: CheckStatus::Pending,
        failed_in_row,
        // The last try comes when the time is over, not an interval later.
        next_at: Some(next_at.min(deadline_at)),
    }
}
