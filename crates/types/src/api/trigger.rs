//! Rollouts by hand: what is asked, what it would do, and what became of it.

use crate::freeze::Freeze;
use crate::ids::{CorrelationId, DeviceId, PlanId, RolloutId, TriggerId};
use crate::policy::{
    BatchSize, FailureRule, Filters, HealthRule, MaintenanceWindow, OnUnresolved, RolloutRule,
    Strategy,
};
use crate::rollout::{RolloutView, SkipReason};
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// `POST /images/trigger-update`: a rollout by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerRequest {
    /// `repository:tag`, `repository@sha256:…` or both.
    #[schema(
        min_length = 1,
        max_length = 512,
        example = "registry:5000/demo/app:v2"
    )]
    pub image: String,
    /// How it goes to its devices; `staged` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// The batches; 10, 50 and 100 per cent where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<Vec<BatchSize>>,
    /// Seconds between the end of a batch and the start of the next; 30 minutes where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 2_592_000)]
    pub batch_delay_seconds: Option<u32>,
    /// When a device counts as healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthRule>,
    /// When the rollout pauses, and what happens to failed devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureRule>,
    /// Everything about how it runs, as in a policy; instead of the single fields `strategy`,
    /// `batches`, `batch_delay_seconds`, `health`, `failure` and `allow_downgrade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<RolloutRule>,
    /// Whether devices may get a version below the one in their target. A person orders a rollout by
    /// hand, so they may in any case; what is given is only shown with the rollout's rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_downgrade: Option<bool>,
    /// Ships the image also where a policy about it requires a signature that is not there. Whoever asks vouches
    /// for it, by name and with the reason; both are in the rollout's event. Without it nothing ships then.
    #[serde(default)]
    pub allow_unsigned: bool,
    /// Who has a device that two rollouts of the same image want: the higher one; the highest of all
    /// where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Which devices, of those whose target runs the repository.
    #[serde(default)]
    pub filters: Filters,
    /// What to do while the tag's digest cannot be learned; `wait` where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unresolved: Option<OnUnresolved>,
    /// Why; it lands in the audit trail.
    #[schema(min_length = 1, max_length = 1000, pattern = r"\S")]
    pub reason: String,
    /// Only says what would be done.
    #[serde(default)]
    pub dry_run: bool,
}

impl TriggerRequest {
    /// A staged rollout of this image to every device that runs its repository.
    #[must_use]
    pub fn new(image: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            strategy: None,
            batches: None,
            batch_delay_seconds: None,
            health: None,
            failure: None,
            rule: None,
            allow_downgrade: None,
            allow_unsigned: false,
            priority: None,
            filters: Filters::default(),
            on_unresolved: None,
            reason: reason.into(),
            dry_run: false,
        }
    }
}

text_enum! {
    /// What the planner made of a trigger.
    TriggerDecision {
        /// A rollout.
        Rollout = "rollout",
        /// Nothing: no device in its scope can take the image.
        NoDevices = "no_devices",
        /// Nothing: the digest is in quarantine.
        Quarantined = "quarantined",
        /// Nothing: it is not what its plan showed any more.
        PlanChanged = "plan_changed",
        /// Nothing: a policy about the image requires a signature that is not there, and nobody vouched for it.
        Unsigned = "unsigned",
    }
}

/// A trigger and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trigger {
    /// Its id.
    pub id: TriggerId,
    /// The image as a reference; with its digest once that is known.
    pub image: String,
    /// Which devices it asks for.
    pub filters: Filters,
    /// Who asked.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What ties its events together.
    pub correlation_id: CorrelationId,
    /// When it was asked.
    pub created_at: DateTime<Utc>,
    /// What the planner made of it; none while it waits.
    pub decision: Option<TriggerDecision>,
    /// Why, or what it waits for, for people.
    pub detail: Option<String>,
    /// The rollout it led to.
    pub rollout: Option<RolloutView>,
    /// When it was decided.
    pub settled_at: Option<DateTime<Utc>>,
}

/// What a trigger would do: the answer to a dry run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TriggerPlan {
    /// Always true: nothing was changed.
    pub dry_run: bool,
    /// The plan as it is kept: `POST /rollout-plans/{id}/apply` ships exactly it. None where nothing
    /// would be shipped, or while the digest is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// Until when it can be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The image as a reference.
    pub image: String,
    /// What it would wait for before its first batch, or why nothing would be shipped at all.
    pub waiting_for: Option<String>,
    /// Devices in scope, skipped ones included.
    pub total_devices: i64,
    /// The batches, first to last.
    pub batches: Vec<PlannedBatch>,
    /// How many devices would be skipped, by reason.
    pub skipped: BTreeMap<String, i64>,
    /// The devices with their places; at most a thousand, `devices_truncated` says if there are more.
    pub devices: Vec<PlannedDevice>,
    /// Whether `devices` was cut off.
    pub devices_truncated: bool,
    /// When it would end at the earliest, if every device took its time and none failed; none where
    /// that cannot be told, such as while a person must approve.
    #[serde(default)]
    pub ends_at: Option<DateTime<Utc>>,
    /// When devices would be admitted; empty means always.
    #[serde(default)]
    pub windows: Vec<MaintenanceWindow>,
    /// Freezes in force or to come.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
    /// Rollouts of the same image that run over some of the same devices.
    #[serde(default)]
    pub conflicts: Vec<Conflict>,
}

/// A rollout of the same image over some of the same devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// The other rollout.
    pub rollout_id: RolloutId,
    /// Its image as a reference.
    pub image: String,
    /// Its priority.
    pub priority: i32,
    /// How many devices both want.
    pub devices: i64,
    /// Whether the other one keeps them; otherwise they go to the one that is planned.
    pub other_keeps: bool,
}

/// A plan as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutPlan {
    /// Its id.
    pub id: PlanId,
    /// What was asked.
    pub request: TriggerRequest,
    /// What was shown.
    pub plan: TriggerPlan,
    /// Who asked.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Until when it can be applied.
    pub expires_at: DateTime<Utc>,
}

/// A batch that would be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedBatch {
    /// The batch, from 1.
    pub batch: i64,
    /// Devices in it, without skipped ones.
    pub devices: i64,
    /// What it would wait for.
    pub waiting_for: String,
    /// When it could start at the earliest.
    #[serde(default)]
    pub starts_at: Option<DateTime<Utc>>,
    /// When it could be done.
    #[serde(default)]
    pub ends_at: Option<DateTime<Utc>>,
}

/// A device that would be in a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedDevice {
    /// The device.
    pub device_uuid: DeviceId,
    /// Its batch, from 1.
    pub batch: i64,
    /// Why it would be skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<SkipReason>,
}
