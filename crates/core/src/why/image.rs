//! Why a pushed image went to devices, or did not.

mod find;
mod sentence;

pub use find::image;

use super::{Reason, RolloutReason};
use chrono::{DateTime, Utc};
use serde::Serialize;
use windlass_types::api::WaitReason;
use windlass_types::delivery::ReasonCode;
use windlass_types::rollout::RolloutStatus;
use windlass_types::why::{WhyCode, WhyKind};

/// A reason why an image went where it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "the codes say what each is, the sentences what its fields are"
)]
pub enum ImageReason {
    NeverPushed {
        image: String,
        nearest: Option<String>,
    },
    DeliveryIgnored {
        sender: String,
        code: Option<ReasonCode>,
    },
    DeliveryDuplicate {
        times: i64,
    },
    DigestUnknown {
        image: String,
        tries: i64,
        error: Option<String>,
        next_at: Option<DateTime<Utc>>,
    },
    NotPlanned,
    Replaced {
        by: Option<String>,
    },
    Quarantined {
        rollout: Option<String>,
        why: String,
    },
    QuarantinedForClass {
        key: String,
        value: String,
        why: String,
    },
    /// It was in quarantine when it was pushed, and is not now.
    WasQuarantined {
        detail: Option<String>,
    },
    Downgrade {
        detail: Option<String>,
    },
    /// The tag named another digest before.
    TagMoved {
        tag: String,
    },
    BelowNewest {
        policy: Option<String>,
        detail: Option<String>,
    },
    /// A policy takes it and waits.
    Waits {
        reason: WaitReason,
        policy: Option<String>,
        detail: String,
        until: Option<DateTime<Utc>>,
    },
    NeverSigned {
        policy: Option<String>,
        detail: Option<String>,
    },
    NotAnImage,
    NoPolicies,
    PolicyDisabled {
        policy: String,
    },
    PolicyOtherTag {
        policy: String,
        tags: String,
        tag: String,
    },
    PolicyOtherImage {
        policy: String,
        pattern: String,
        repository: String,
    },
    /// None took it then; this one takes it now.
    NoPolicyTookIt {
        now: Option<String>,
        detail: Option<String>,
    },
    NoDevices {
        policy: Option<String>,
        detail: Option<String>,
    },
    RolloutMade {
        policy: Option<String>,
        image: String,
        devices: i64,
        healthy: i64,
        status: RolloutStatus,
    },
    /// What its rollout waits for, or how that ended.
    Held(RolloutReason),
}

impl Reason for ImageReason {
    fn code(&self) -> WhyCode {
        match self {
            Self::NeverPushed { .. } => WhyCode::NeverPushed,
            Self::DeliveryIgnored { .. } => WhyCode::DeliveryIgnored,
            Self::DeliveryDuplicate { .. } => WhyCode::DeliveryDuplicate,
            Self::DigestUnknown { .. } => WhyCode::DigestUnknown,
            Self::NotPlanned => WhyCode::NotPlanned,
            Self::Replaced { .. } => WhyCode::Replaced,
            Self::Quarantined { .. } | Self::WasQuarantined { .. } => WhyCode::ImageQuarantined,
            Self::QuarantinedForClass { .. } => WhyCode::ImageQuarantinedForClass,
            Self::Downgrade { .. } => WhyCode::ImageDowngrade,
            Self::TagMoved { .. } => WhyCode::TagMoved,
            Self::BelowNewest { .. } => WhyCode::BelowNewest,
            Self::Waits { reason, .. } => match reason {
                WaitReason::TooYoung => WhyCode::TooYoung,
                WaitReason::Held => WhyCode::Held,
                WaitReason::Unsigned => WhyCode::Unsigned,
                WaitReason::WrongSignature => WhyCode::WrongSignature,
                WaitReason::SignatureUnknown => WhyCode::SignatureUnknown,
                WaitReason::PlatformsUnknown => WhyCode::PlatformsUnknown,
                WaitReason::BuildDateUnknown => WhyCode::BuildDateUnknown,
            },
            Self::NeverSigned { .. } => WhyCode::NeverSigned,
            Self::NotAnImage => WhyCode::NotAnImage,
            Self::NoPolicies => WhyCode::NoPolicies,
            Self::PolicyDisabled { .. } => WhyCode::PolicyDisabled,
            Self::PolicyOtherTag { .. } => WhyCode::PolicyOtherTag,
            Self::PolicyOtherImage { .. } => WhyCode::PolicyOtherImage,
            Self::NoPolicyTookIt { .. } => WhyCode::NoPolicyTookIt,
            Self::NoDevices { .. } => WhyCode::NoDevices,
            Self::RolloutMade { .. } => WhyCode::RolloutMade,
            Self::Held(reason) => reason.code(),
        }
    }

    fn kind(&self) -> WhyKind {
        match self {
            Self::Held(reason) => reason.kind(),
            Self::DigestUnknown { .. } | Self::NotPlanned | Self::Waits { .. } => WhyKind::Waits,
            Self::DeliveryDuplicate { .. }
            | Self::TagMoved { .. }
            | Self::QuarantinedForClass { .. }
            | Self::RolloutMade { .. } => WhyKind::Known,
            Self::NeverPushed { .. }
            | Self::DeliveryIgnored { .. }
            | Self::Replaced { .. }
            | Self::Quarantined { .. }
            | Self::WasQuarantined { .. }
            | Self::Downgrade { .. }
            | Self::BelowNewest { .. }
            | Self::NeverSigned { .. }
            | Self::NotAnImage
            | Self::NoPolicies
            | Self::PolicyDisabled { .. }
            | Self::PolicyOtherTag { .. }
            | Self::PolicyOtherImage { .. }
            | Self::NoPolicyTookIt { .. }
            | Self::NoDevices { .. } => WhyKind::Decided,
        }
    }

    fn sentence(&self) -> String {
        sentence::of(self)
    }

    fn changes_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Held(reason) => reason.changes_at(),
            Self::DigestUnknown { next_at, .. } => *next_at,
            Self::Waits { until, .. } => *until,
            Self::NeverPushed { .. }
            | Self::DeliveryIgnored { .. }
            | Self::DeliveryDuplicate { .. }
            | Self::NotPlanned
            | Self::Replaced { .. }
            | Self::Quarantined { .. }
            | Self::QuarantinedForClass { .. }
            | Self::WasQuarantined { .. }
            | Self::Downgrade { .. }
            | Self::TagMoved { .. }
            | Self::BelowNewest { .. }
            | Self::NeverSigned { .. }
            | Self::NotAnImage
            | Self::NoPolicies
            | Self::PolicyDisabled { .. }
            | Self::PolicyOtherTag { .. }
            | Self::PolicyOtherImage { .. }
            | Self::NoPolicyTookIt { .. }
            | Self::NoDevices { .. }
            | Self::RolloutMade { .. } => None,
        }
    }

    fn needs(&self) -> Option<&'static str> {
        match self {
            Self::Held(reason) => reason.needs(),
            Self::NeverPushed { .. } => {
                Some("Push it, and look whether its registry sends webhooks here.")
            }
            Self::DeliveryIgnored { .. } => Some("Push an image with a tag."),
            Self::Quarantined { .. } | Self::QuarantinedForClass { .. } => {
                Some("Lift the quarantine, or push a better version.")
            }
            Self::WasQuarantined { .. } | Self::NoPolicyTookIt { .. } => {
                Some("Push it again, or start a rollout by hand.")
            }
            Self::Downgrade { .. } => {
                Some("Allow older versions in the policy, or start a rollout by hand.")
            }
            Self::BelowNewest { .. } => {
                Some("Start a rollout by hand, where it is this version that is wanted.")
            }
            Self::Waits { reason, until, .. } => match reason {
                WaitReason::Held if until.is_none() => Some("Lift the hold."),
                WaitReason::Unsigned => Some("Sign it, or change the policy."),
                WaitReason::WrongSignature => {
                    Some("Sign it with a key of the policy, or give the policy the right key.")
                }
                WaitReason::SignatureUnknown => Some("See to it that its registry answers."),
                WaitReason::TooYoung
                | WaitReason::Held
                | WaitReason::PlatformsUnknown
                | WaitReason::BuildDateUnknown => None,
            },
            Self::NeverSigned { .. } => Some("Sign it and push it again."),
            Self::NotAnImage => Some("Push an image under a tag that the policy takes."),
            Self::NoPolicies => Some("Make a policy."),
            Self::PolicyDisabled { .. } => Some("Switch the policy on."),
            Self::PolicyOtherTag { .. } | Self::PolicyOtherImage { .. } => {
                Some("Change the policy, or start a rollout by hand.")
            }
            Self::NoDevices { .. } => {
                Some("Change the policy's filters, or give devices a target that names it.")
            }
            Self::DeliveryDuplicate { .. }
            | Self::DigestUnknown { .. }
            | Self::NotPlanned
            | Self::TagMoved { .. }
            | Self::Replaced { .. }
            | Self::RolloutMade { .. } => None,
        }
    }
}
