//! Why a device runs what it runs, or does not move.

mod find;
mod sentence;

pub use find::device;

use super::{Reason, RolloutReason};
use chrono::{DateTime, Utc};
use serde::Serialize;
use windlass_types::rollout::SkipReason;
use windlass_types::target::TargetSource;
use windlass_types::why::{WhyCode, WhyKind};

/// A reason why a device stands where it stands. `image` is the rollout's, with its tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the codes say what each is, the sentences what its fields are"
)]
pub enum DeviceReason {
    Disabled,
    NeverSeen,
    Offline {
        seen: DateTime<Utc>,
        /// Whether something waits for it.
        holds: bool,
    },
    Seen {
        at: DateTime<Utc>,
    },
    SetAside {
        why: String,
        until: DateTime<Utc>,
    },
    WasSetAside {
        why: String,
        until: DateTime<Utc>,
    },
    NoTarget,
    Target {
        version: i64,
        source: TargetSource,
        image: Option<String>,
    },
    DigestFailedHere {
        digest: String,
        everywhere: bool,
    },
    NoPolicies,
    PolicyDisabled {
        policy: String,
    },
    PolicyOtherImage {
        policy: String,
        pattern: String,
        repository: String,
    },
    PolicyOtherTag {
        policy: String,
        tag: String,
    },
    PolicyOtherFleet {
        policy: String,
        fleets: Vec<String>,
        fleet: String,
    },
    PolicyOtherDeviceTag {
        policy: String,
        key: String,
        value: String,
        has: Option<String>,
    },
    PolicyOtherDevice {
        policy: String,
    },
    NothingPushed {
        policy: String,
    },
    Turn {
        image: String,
        batch: i64,
        batches: i64,
    },
    /// What its rollout waits for.
    Held(RolloutReason),
    WindowClosedHere {
        zone: String,
        opens_at: Option<DateTime<Utc>>,
    },
    LabelLimitHere {
        key: String,
        value: String,
        limit: i64,
        unavailable: i64,
        /// How many of those do not come back by themselves.
        stuck: i64,
        holders: Vec<String>,
    },
    RetryHere {
        image: String,
        tried: i64,
        of: i64,
        what: Option<String>,
        at: DateTime<Utc>,
    },
    NotPolled {
        image: String,
        until: Option<DateTime<Utc>>,
    },
    Updating {
        image: String,
        until: Option<DateTime<Utc>>,
    },
    Pulling {
        image: String,
        until: Option<DateTime<Utc>>,
    },
    Pulled {
        image: String,
        until: Option<DateTime<Utc>>,
    },
    Verifying {
        image: String,
        stable_until: Option<DateTime<Utc>>,
    },
    Restarting {
        image: String,
        restarts: i64,
        stable_until: Option<DateTime<Utc>>,
    },
    CheckPending {
        name: String,
        tries: i64,
        said: Option<String>,
        until: DateTime<Utc>,
    },
    Completed {
        image: String,
    },
    Failed {
        image: String,
        what: Option<String>,
    },
    FailedEnvironment {
        image: String,
        tries: i64,
        what: Option<String>,
    },
    RollbackWaits {
        limit: i64,
        on_their_way: i64,
        /// How many go before it.
        before: i64,
    },
    Unreachable {
        image: String,
    },
    SilentAfterUpdate {
        image: String,
    },
    Inconclusive {
        image: String,
        what: Option<String>,
    },
    RollingBack {
        from: String,
        to: Option<String>,
        until: Option<DateTime<Utc>>,
    },
    RolledBack {
        from: String,
        to: Option<String>,
        what: Option<String>,
    },
    RollbackFailed {
        from: String,
        to: Option<String>,
        what: Option<String>,
    },
    Skipped {
        image: String,
        reason: Option<SkipReason>,
        /// The rollout that has it instead.
        other: Option<String>,
        detail: Option<String>,
    },
}

impl Reason for DeviceReason {
    fn code(&self) -> WhyCode {
        match self {
            Self::Disabled => WhyCode::Disabled,
            Self::NeverSeen => WhyCode::NeverSeen,
            Self::Offline { .. } => WhyCode::Offline,
            Self::Seen { .. } => WhyCode::Seen,
            Self::SetAside { .. } => WhyCode::SetAside,
            Self::WasSetAside { .. } => WhyCode::WasSetAside,
            Self::NoTarget => WhyCode::NoTarget,
            Self::Target { source, .. } => match source {
                TargetSource::Initial => WhyCode::NoTarget,
                TargetSource::Operator => WhyCode::TargetByPerson,
                TargetSource::Rollout => WhyCode::TargetByRollout,
                TargetSource::Rollback => WhyCode::TargetByRollback,
            },
            Self::DigestFailedHere { .. } => WhyCode::DigestFailedHere,
            Self::NoPolicies => WhyCode::NoPolicies,
            Self::PolicyDisabled { .. } => WhyCode::PolicyDisabled,
            Self::PolicyOtherImage { .. } => WhyCode::PolicyOtherImage,
            Self::PolicyOtherTag { .. } => WhyCode::PolicyOtherTag,
            Self::PolicyOtherFleet { .. } => WhyCode::PolicyOtherFleet,
            Self::PolicyOtherDeviceTag { .. } => WhyCode::PolicyOtherDeviceTag,
            Self::PolicyOtherDevice { .. } => WhyCode::PolicyOtherDevice,
            Self::NothingPushed { .. } => WhyCode::NothingPushed,
            Self::Turn { .. } => WhyCode::Turn,
            Self::Held(reason) => reason.code(),
            Self::WindowClosedHere { .. } => WhyCode::WindowClosedHere,
            Self::LabelLimitHere { .. } => WhyCode::LabelLimitHere,
            Self::RetryHere { .. } => WhyCode::RetryHere,
            Self::NotPolled { .. } => WhyCode::NotPolled,
            Self::Updating { .. } => WhyCode::Updating,
            Self::Pulling { .. } => WhyCode::Pulling,
            Self::Pulled { .. } => WhyCode::Pulled,
            Self::Verifying { .. } => WhyCode::Verifying,
            Self::Restarting { .. } => WhyCode::Restarting,
            Self::CheckPending { .. } => WhyCode::CheckPending,
            Self::Completed { .. } => WhyCode::DeviceCompleted,
            Self::Failed { .. } => WhyCode::DeviceFailed,
            Self::FailedEnvironment { .. } => WhyCode::FailedEnvironment,
            Self::RollbackWaits { .. } => WhyCode::RollbackWaits,
            Self::Unreachable { .. } => WhyCode::Unreachable,
            Self::SilentAfterUpdate { .. } => WhyCode::SilentAfterUpdate,
            Self::Inconclusive { .. } => WhyCode::Inconclusive,
            Self::RollingBack { .. } => WhyCode::RollingBack,
            Self::RolledBack { .. } => WhyCode::RolledBack,
            Self::RollbackFailed { .. } => WhyCode::RollbackFailed,
            Self::Skipped { reason, .. } => skipped(*reason),
        }
    }

    fn kind(&self) -> WhyKind {
        match self {
            Self::Held(reason) => reason.kind(),
            Self::Disabled
            | Self::NeverSeen
            | Self::Offline { holds: true, .. }
            | Self::SetAside { .. }
            | Self::WindowClosedHere { .. }
            | Self::LabelLimitHere { .. }
            | Self::RetryHere { .. }
            | Self::NotPolled { .. }
            | Self::Updating { .. }
            | Self::Pulling { .. }
            | Self::Pulled { .. }
            | Self::Verifying { .. }
            | Self::Restarting { .. }
            | Self::CheckPending { .. }
            | Self::RollbackWaits { .. }
            | Self::Unreachable { .. }
            | Self::SilentAfterUpdate { .. }
            | Self::RollingBack { .. } => WhyKind::Waits,
            Self::NoTarget
            | Self::NoPolicies
            | Self::PolicyDisabled { .. }
            | Self::PolicyOtherImage { .. }
            | Self::PolicyOtherTag { .. }
            | Self::PolicyOtherFleet { .. }
            | Self::PolicyOtherDeviceTag { .. }
            | Self::PolicyOtherDevice { .. }
            | Self::NothingPushed { .. }
            | Self::Completed { .. }
            | Self::Failed { .. }
            | Self::FailedEnvironment { .. }
            | Self::Inconclusive { .. }
            | Self::RolledBack { .. }
            | Self::RollbackFailed { .. }
            | Self::Skipped { .. } => WhyKind::Decided,
            Self::Offline { holds: false, .. }
            | Self::Seen { .. }
            | Self::WasSetAside { .. }
            | Self::Target { .. }
            | Self::DigestFailedHere { .. }
            | Self::Turn { .. } => WhyKind::Known,
        }
    }

    fn sentence(&self) -> String {
        sentence::of(self)
    }

    fn changes_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Held(reason) => reason.changes_at(),
            Self::SetAside { until, .. } | Self::CheckPending { until, .. } => Some(*until),
            Self::RetryHere { at, .. } => Some(*at),
            Self::WindowClosedHere { opens_at, .. } => *opens_at,
            Self::NotPolled { until, .. }
            | Self::Updating { until, .. }
            | Self::Pulling { until, .. }
            | Self::Pulled { until, .. }
            | Self::RollingBack { until, .. } => *until,
            Self::Verifying { stable_until, .. } | Self::Restarting { stable_until, .. } => {
                *stable_until
            }
            Self::Disabled
            | Self::NeverSeen
            | Self::Offline { .. }
            | Self::Seen { .. }
            | Self::WasSetAside { .. }
            | Self::NoTarget
            | Self::Target { .. }
            | Self::DigestFailedHere { .. }
            | Self::NoPolicies
            | Self::PolicyDisabled { .. }
            | Self::PolicyOtherImage { .. }
            | Self::PolicyOtherTag { .. }
            | Self::PolicyOtherFleet { .. }
            | Self::PolicyOtherDeviceTag { .. }
            | Self::PolicyOtherDevice { .. }
            | Self::NothingPushed { .. }
            | Self::Turn { .. }
            | Self::LabelLimitHere { .. }
            | Self::Completed { .. }
            | Self::Failed { .. }
            | Self::FailedEnvironment { .. }
            | Self::RollbackWaits { .. }
            | Self::Unreachable { .. }
            | Self::SilentAfterUpdate { .. }
            | Self::Inconclusive { .. }
            | Self::RolledBack { .. }
            | Self::RollbackFailed { .. }
            | Self::Skipped { .. } => None,
        }
    }

    fn needs(&self) -> Option<&'static str> {
        match self {
            Self::Held(reason) => reason.needs(),
            Self::Disabled => Some("Switch the device on."),
            Self::NeverSeen | Self::Offline { .. } => {
                Some("Look whether the device has power and a network.")
            }
            Self::Unreachable { .. } | Self::SilentAfterUpdate { .. } => {
                Some("Look whether the device has power and a network.")
            }
            Self::NoTarget => Some("Give the device a target state."),
            Self::NoPolicies => Some("Make a policy."),
            Self::PolicyDisabled { .. } => Some("Switch the policy on."),
            Self::PolicyOtherImage { .. }
            | Self::PolicyOtherTag { .. }
            | Self::PolicyOtherFleet { .. }
            | Self::PolicyOtherDeviceTag { .. }
            | Self::PolicyOtherDevice { .. } => {
                Some("Change the policy, or start a rollout by hand.")
            }
            Self::NothingPushed { .. } => Some("Push a newer image."),
            Self::DigestFailedHere { .. } => {
                Some("Lift the quarantine of the digest to ship it here again.")
            }
            Self::FailedEnvironment { .. } | Self::Inconclusive { .. } => {
                Some("Retry the device in its rollout.")
            }
            Self::RollbackFailed { .. } => Some("Set the device's target by hand."),
            Self::LabelLimitHere {
                limit,
                unavailable,
                stuck,
                ..
            } => label_needs(*limit, *unavailable, *stuck),
            Self::Seen { .. }
            | Self::SetAside { .. }
            | Self::WasSetAside { .. }
            | Self::Target { .. }
            | Self::Turn { .. }
            | Self::WindowClosedHere { .. }
            | Self::RetryHere { .. }
            | Self::NotPolled { .. }
            | Self::Updating { .. }
            | Self::Pulling { .. }
            | Self::Pulled { .. }
            | Self::Verifying { .. }
            | Self::Restarting { .. }
            | Self::CheckPending { .. }
            | Self::Completed { .. }
            | Self::Failed { .. }
            | Self::RollbackWaits { .. }
            | Self::RollingBack { .. }
            | Self::RolledBack { .. }
            | Self::Skipped { .. } => None,
        }
    }
}

/// What a person has to do where a limit by tag is used up by devices that do not come back by
/// themselves.
pub(super) const fn label_needs(limit: i64, unavailable: i64, stuck: i64) -> Option<&'static str> {
    if unavailable - stuck < limit {
        Some(
            "Bring the silent or failed devices back, or switch them off: then they are not counted.",
        )
    } else {
        None
    }
}

const fn skipped(reason: Option<SkipReason>) -> WhyCode {
    match reason {
        Some(SkipReason::Disabled) => WhyCode::SkippedDisabled,
        Some(SkipReason::FailedHereBefore) => WhyCode::FailedHereBefore,
        Some(SkipReason::AlreadyOnImage) => WhyCode::AlreadyThere,
        Some(SkipReason::TargetChanged) => WhyCode::TargetChanged,
        Some(SkipReason::RolloutEnded) => WhyCode::RolloutEnded,
        Some(SkipReason::OutOfScope) => WhyCode::OutOfScope,
        Some(SkipReason::Deleted) => WhyCode::Deleted,
        Some(SkipReason::Downgrade) => WhyCode::Downgrade,
        Some(SkipReason::PenaltyBox) => WhyCode::SkippedSetAside,
        Some(SkipReason::HigherPriority) => WhyCode::HigherPriority,
        Some(SkipReason::Quarantined) => WhyCode::QuarantinedClass,
        Some(SkipReason::OtherPlatform) => WhyCode::OtherPlatform,
        Some(SkipReason::Unreadable) | None => WhyCode::SkippedOther,
    }
}
