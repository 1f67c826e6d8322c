//! What operators send to the API and get from it, beyond the nouns that have their own modules.

use crate::ids::{
    CorrelationId, DeliveryId, DeviceId, FleetId, ImageVersionId, PolicyId, RolloutId, TriggerId,
};
use crate::image::Digest;
use crate::policy::{BatchSize, FailureRule, Filters, HealthRule, OnUnresolved, Strategy};
use crate::rollout::{Command, DeviceStatus, RolloutStatus, RolloutView, SkipReason};
use crate::target::TargetApp;
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Why an operator does something; it lands in the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// For people, not empty.
    #[schema(min_length = 1, max_length = 1000, pattern = r"\S")]
    pub reason: String,
}

/// A command and what it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandResult {
    /// The command; its outcome says what became of it.
    pub command: Command,
    /// The rollout afterwards.
    pub rollout: RolloutView,
}

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerPlan {
    /// Always true: nothing was changed.
    pub dry_run: bool,
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

text_enum! {
    /// What the planner made of a pushed version.
    PlanDecision {
        /// A rollout.
        Rollout = "rollout",
        /// Nothing: no enabled policy takes it.
        NoPolicy = "no_policy",
        /// Nothing: no device in the policy's scope can take it.
        NoDevices = "no_devices",
        /// Nothing: the digest is in quarantine.
        Quarantined = "quarantined",
        /// Nothing: a newer version came first.
        Replaced = "replaced",
    }
}

/// A version of an image that was seen, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageVersion {
    /// Its id.
    pub id: ImageVersionId,
    /// The repository in canonical form.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest, once known.
    pub digest: Option<Digest>,
    /// Who pushed, as the sender says.
    pub actor: Option<String>,
    /// When it was pushed, as the sender says.
    pub pushed_at: Option<DateTime<Utc>>,
    /// When it was seen.
    pub seen_at: DateTime<Utc>,
    /// The delivery that told of it.
    pub delivery_id: Option<DeliveryId>,
    /// What ties its events together.
    pub correlation_id: CorrelationId,
    /// When the tag moved on to another version.
    pub replaced_at: Option<DateTime<Utc>>,
    /// Why its digest is not known, as the registry said last.
    pub resolve_error: Option<String>,
    /// What the planner made of it; none while it waits.
    pub decision: Option<PlanDecision>,
    /// Why, for people.
    pub detail: Option<String>,
    /// The policy that decided.
    pub policy_id: Option<PolicyId>,
    /// The rollout it led to.
    pub rollout_id: Option<RolloutId>,
    /// When it was decided.
    pub decided_at: Option<DateTime<Utc>>,
}

/// A digest that ships no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuarantinedDigest {
    /// The digest.
    pub digest: Digest,
    /// The repository it failed in.
    pub repository: String,
    /// The rollout it failed in.
    pub rollout_id: Option<RolloutId>,
    /// Why, for people.
    pub reason: String,
    /// What that rests on.
    #[schema(value_type = Object)]
    pub evidence: Value,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// A fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fleet {
    /// Its name.
    pub id: FleetId,
    /// Devices in it.
    pub devices: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// `PATCH /devices/{uuid}`: what is given is changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DevicePatch {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 255)]
    pub name: Option<String>,
    /// Its fleet; made where it does not exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetId>,
    /// All its tags, instead of those it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, String>>,
    /// Whether it may poll and report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// `PUT /devices/{uuid}/target-state`: everything the device is to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTarget {
    /// Apps by their id as text.
    pub apps: BTreeMap<String, TargetApp>,
    /// Settings of the device itself, passed through.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub config: Map<String, Value>,
}

/// Why a device runs what it runs, or does not move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The device.
    pub uuid: DeviceId,
    /// One thing each, for people; the most telling first.
    pub sentences: Vec<String>,
    /// Its places in rollouts, latest first.
    pub rollouts: Vec<WhyRollout>,
    /// Digests that failed on it and are not shipped to it again.
    pub failed_digests: Vec<FailedDigest>,
    /// When it polled or reported last.
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// A device's place in one rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyRollout {
    /// The rollout.
    pub rollout_id: RolloutId,
    /// Its image as a reference.
    pub image: String,
    /// Where the rollout stands.
    pub rollout_status: RolloutStatus,
    /// What the rollout waits for.
    pub waiting_for: Option<String>,
    /// The device's batch, from 1.
    pub batch: i64,
    /// Where the device stands.
    pub status: DeviceStatus,
    /// Why, where that needs saying.
    pub reason: Option<String>,
    /// Until when it must be healthy or back.
    pub deadline_at: Option<DateTime<Utc>>,
    /// The same in a sentence.
    pub sentence: String,
}

/// A digest that failed on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedDigest {
    /// The digest.
    pub digest: Digest,
    /// The rollout it failed in.
    pub rollout_id: RolloutId,
    /// When.
    pub failed_at: DateTime<Utc>,
    /// Whether it is in quarantine for every device.
    pub quarantined: bool,
}
