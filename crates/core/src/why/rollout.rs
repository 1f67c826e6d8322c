//! Why a rollout does not move, or how it ended.

mod find;
mod sentence;

pub use find::rollout;

use super::Reason;
use super::device::label_needs;
use chrono::{DateTime, Utc};
use serde::Serialize;
use windlass_types::rollout::StatusReason;
use windlass_types::why::facts::LabelUse;
use windlass_types::why::{WhyCode, WhyKind};

/// A reason why a rollout stands where it stands. Times are the server's; batches count from 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the codes say what each is, the sentences what its fields are"
)]
pub enum RolloutReason {
    NextStep,
    PausedByPerson {
        by: Option<String>,
        why: Option<String>,
    },
    Paused {
        cause: Option<StatusReason>,
        detail: Option<String>,
    },
    RollbackOrdered {
        by: String,
        why: String,
    },
    Stopped {
        by: String,
        why: String,
    },
    Frozen {
        by: String,
        why: String,
        until: Option<DateTime<Utc>>,
    },
    Approval {
        /// None where it is about the rollout as a whole.
        batch: Option<i64>,
        devices: i64,
        needed: i64,
        given: Vec<String>,
    },
    StartTime {
        at: Option<DateTime<Utc>>,
    },
    Delay {
        batch: i64,
        until: DateTime<Utc>,
    },
    Soak {
        open: i64,
        total: i64,
        until: Option<DateTime<Utc>>,
    },
    Hold {
        until: DateTime<Utc>,
    },
    GateCheck {
        batch: i64,
        name: String,
        tries: Option<i64>,
        said: Option<String>,
        until: Option<DateTime<Utc>>,
    },
    WindowClosed {
        batch: i64,
        devices: i64,
        zones: Vec<String>,
        opens_at: Option<DateTime<Utc>>,
    },
    InFlightLimit {
        limit: i64,
        in_flight: i64,
        waiting: i64,
        until: Option<DateTime<Utc>>,
    },
    RateLimit {
        per_minute: i64,
        waiting: i64,
        at: Option<DateTime<Utc>>,
    },
    LabelLimit {
        tags: Vec<String>,
        waiting: i64,
        /// Who holds the places.
        full: Vec<LabelUse>,
        until: Option<DateTime<Utc>>,
    },
    RetryWait {
        devices: i64,
        at: Option<DateTime<Utc>>,
    },
    DevicesOnTheirWay {
        batch: i64,
        batches: i64,
        open: i64,
        total: i64,
        until: Option<DateTime<Utc>>,
    },
    BudgetSpent {
        detail: String,
    },
    RollingBackAll {
        left: i64,
        back: i64,
        failed: i64,
        why: Option<String>,
        until: Option<DateTime<Utc>>,
    },
    RollbacksWait {
        waiting: i64,
        limit: i64,
        on_their_way: i64,
    },
    FreezeOverridden {
        said: String,
    },
    Completed {
        healthy: i64,
        total: i64,
        skipped: i64,
    },
    Failed {
        detail: Option<String>,
    },
    Cancelled {
        by: Option<String>,
        why: Option<String>,
    },
    Superseded {
        by: Option<String>,
        detail: Option<String>,
    },
    RolledBack {
        back: i64,
        failed: i64,
        why: Option<String>,
    },
}

impl Reason for RolloutReason {
    fn code(&self) -> WhyCode {
        match self {
            Self::NextStep => WhyCode::NextStep,
            Self::PausedByPerson { .. } => WhyCode::PausedByPerson,
            Self::Paused { cause, .. } => match cause {
                Some(StatusReason::FailureRate) => WhyCode::PausedFailureRate,
                Some(StatusReason::ConsecutiveFailures) => WhyCode::PausedConsecutiveFailures,
                Some(StatusReason::EnvironmentFailures) => WhyCode::PausedEnvironmentFailures,
                Some(StatusReason::WentSilent) => WhyCode::PausedWentSilent,
                Some(StatusReason::CheckFailed) => WhyCode::PausedCheckFailed,
                Some(StatusReason::Inconclusive) => WhyCode::PausedInconclusive,
                Some(StatusReason::NoEvidence) => WhyCode::PausedNoEvidence,
                Some(StatusReason::Quarantined) => WhyCode::PausedQuarantined,
                Some(StatusReason::Unsigned) => WhyCode::PausedUnsigned,
                Some(StatusReason::Operator) => WhyCode::PausedByPerson,
                Some(StatusReason::NewerVersion) | None => WhyCode::PausedOther,
            },
            Self::RollbackOrdered { .. } => WhyCode::RollbackOrdered,
            Self::Stopped { .. } => WhyCode::Stopped,
            Self::Frozen { .. } => WhyCode::Frozen,
            Self::Approval { .. } => WhyCode::Approval,
            Self::StartTime { .. } => WhyCode::StartTime,
            Self::Delay { .. } => WhyCode::Delay,
            Self::Soak { .. } => WhyCode::Soak,
            Self::Hold { .. } => WhyCode::Hold,
            Self::GateCheck { .. } => WhyCode::GateCheck,
            Self::WindowClosed { .. } => WhyCode::WindowClosed,
            Self::InFlightLimit { .. } => WhyCode::InFlightLimit,
            Self::RateLimit { .. } => WhyCode::RateLimit,
            Self::LabelLimit { .. } => WhyCode::LabelLimit,
            Self::RetryWait { .. } => WhyCode::RetryWait,
            Self::DevicesOnTheirWay { .. } => WhyCode::DevicesOnTheirWay,
            Self::BudgetSpent { .. } => WhyCode::BudgetSpent,
            Self::RollingBackAll { .. } => WhyCode::RollingBackAll,
            Self::RollbacksWait { .. } => WhyCode::RollbacksWait,
            Self::FreezeOverridden { .. } => WhyCode::FreezeOverridden,
            Self::Completed { .. } => WhyCode::RolloutCompleted,
            Self::Failed { .. } => WhyCode::RolloutFailed,
            Self::Cancelled { .. } => WhyCode::RolloutCancelled,
            Self::Superseded { .. } => WhyCode::RolloutSuperseded,
            Self::RolledBack { .. } => WhyCode::RolloutRolledBack,
        }
    }

    fn kind(&self) -> WhyKind {
        match self {
            Self::NextStep
            | Self::PausedByPerson { .. }
            | Self::Paused { .. }
            | Self::RollbackOrdered { .. }
            | Self::Stopped { .. }
            | Self::Frozen { .. }
            | Self::Approval { .. }
            | Self::StartTime { .. }
            | Self::Delay { .. }
            | Self::Soak { .. }
            | Self::Hold { .. }
            | Self::GateCheck { .. }
            | Self::WindowClosed { .. }
            | Self::InFlightLimit { .. }
            | Self::RateLimit { .. }
            | Self::LabelLimit { .. }
            | Self::RetryWait { .. }
            | Self::DevicesOnTheirWay { .. }
            | Self::BudgetSpent { .. }
            | Self::RollingBackAll { .. }
            | Self::RollbacksWait { .. } => WhyKind::Waits,
            Self::FreezeOverridden { .. } => WhyKind::Known,
            Self::Completed { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. }
            | Self::Superseded { .. }
            | Self::RolledBack { .. } => WhyKind::Decided,
        }
    }

    fn sentence(&self) -> String {
        sentence::of(self)
    }

    fn changes_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Frozen { until, .. }
            | Self::Soak { until, .. }
            | Self::GateCheck { until, .. }
            | Self::InFlightLimit { until, .. }
            | Self::LabelLimit { until, .. }
            | Self::DevicesOnTheirWay { until, .. }
            | Self::RollingBackAll { until, .. } => *until,
            Self::Delay { until, .. } | Self::Hold { until } => Some(*until),
            Self::WindowClosed { opens_at, .. } => *opens_at,
            Self::StartTime { at } | Self::RateLimit { at, .. } | Self::RetryWait { at, .. } => *at,
            Self::NextStep
            | Self::PausedByPerson { .. }
            | Self::Paused { .. }
            | Self::RollbackOrdered { .. }
            | Self::Stopped { .. }
            | Self::Approval { .. }
            | Self::BudgetSpent { .. }
            | Self::RollbacksWait { .. }
            | Self::FreezeOverridden { .. }
            | Self::Completed { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. }
            | Self::Superseded { .. }
            | Self::RolledBack { .. } => None,
        }
    }

    fn needs(&self) -> Option<&'static str> {
        match self {
            Self::PausedByPerson { .. } => Some("Resume the rollout, cancel it or take it back."),
            Self::Paused { .. } => {
                Some("Look at what failed; then resume the rollout, cancel it or take it back.")
            }
            Self::Stopped { .. } => {
                Some("Lift the stop, or let this rollout go on in spite of it.")
            }
            Self::Frozen { until: None, .. } => {
                Some("Lift the freeze, or let this rollout go on in spite of it.")
            }
            Self::Approval { .. } => Some("Approve it."),
            Self::WindowClosed { opens_at: None, .. } => {
                Some("Give the policy a maintenance window that opens.")
            }
            Self::LabelLimit { full, .. } => full
                .iter()
                .find_map(|used| label_needs(used.limit, used.unavailable, used.stuck)),
            Self::NextStep
            | Self::RollbackOrdered { .. }
            | Self::Frozen { .. }
            | Self::StartTime { .. }
            | Self::Delay { .. }
            | Self::Soak { .. }
            | Self::Hold { .. }
            | Self::GateCheck { .. }
            | Self::WindowClosed { .. }
            | Self::InFlightLimit { .. }
            | Self::RateLimit { .. }
            | Self::RetryWait { .. }
            | Self::DevicesOnTheirWay { .. }
            | Self::BudgetSpent { .. }
            | Self::RollingBackAll { .. }
            | Self::RollbacksWait { .. }
            | Self::FreezeOverridden { .. }
            | Self::Completed { .. }
            | Self::Failed { .. }
            | Self::Cancelled { .. }
            | Self::Superseded { .. }
            | Self::RolledBack { .. } => None,
        }
    }
}
