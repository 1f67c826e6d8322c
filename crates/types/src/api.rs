//! What operators send to the API and get from it, beyond the nouns that have their own modules.

mod freezes;
mod holds;
mod matches;
mod trigger;

pub use freezes::{FreezeState, FreezeView, NewFreeze, Stopped};
pub use holds::{HoldState, HoldView, NewHold};
pub use matches::{PolicyMatch, PolicyTest, PolicyTestRequest};
pub use trigger::{
    Conflict, PlannedBatch, PlannedDevice, RolloutPlan, Trigger, TriggerDecision, TriggerPlan,
    TriggerRequest,
};

use crate::ids::{
    CorrelationId, DeliveryId, DeviceId, FleetId, ImageVersionId, PolicyId, RolloutId,
};
use crate::image::Digest;
use crate::rollout::{Command, RolloutView};
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

/// `POST /rollouts/{id}/approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Why; it lands in the audit trail.
    #[schema(min_length = 1, max_length = 1000, pattern = r"\S")]
    pub reason: String,
    /// The batch that may begin by it, from 1; the one that waits where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub batch: Option<i64>,
}

/// A command and what it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommandResult {
    /// The command; its outcome says what became of it.
    pub command: Command,
    /// The rollout afterwards.
    pub rollout: RolloutView,
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
        /// Nothing: every device in scope runs a higher version.
        Downgrade = "downgrade",
        /// Nothing: a newer version of those that the policy takes is there.
        BelowNewest = "below_newest",
        /// Nothing: no signature that the policy wants has come in all the time it is waited for.
        Unsigned = "unsigned",
        /// Nothing: what was pushed is no image but a signature, a chart or the like.
        NotAnImage = "not_an_image",
    }
}

text_enum! {
    /// What keeps a policy from shipping a version that it takes.
    WaitReason {
        /// It has not been known for as long as the policy wants.
        TooYoung = "too_young",
        /// The policy or the repository is held.
        Held = "held",
        /// It has no signature.
        Unsigned = "unsigned",
        /// It has signatures, none of which counts.
        WrongSignature = "wrong_signature",
        /// Its registry has not told its signatures.
        SignatureUnknown = "signature_unknown",
        /// Its registry has not told what it runs on.
        PlatformsUnknown = "platforms_unknown",
        /// Its registry has not told when it was built.
        BuildDateUnknown = "build_date_unknown",
    }
}

/// A policy that takes a version and does not ship it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionWait {
    /// The policy.
    pub policy_id: PolicyId,
    /// What it waits for.
    pub reason: WaitReason,
    /// The same for people.
    pub detail: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when at the longest, where that is known.
    pub until: Option<DateTime<Utc>>,
}

/// What a registry told of a version beyond its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionFacts {
    /// What it runs on; empty where the image does not say.
    pub platforms: Vec<String>,
    /// When it was built, as its configuration says.
    pub built_at: Option<DateTime<Utc>>,
    /// Whether it is no image: a signature, a chart or the like.
    pub artifact: bool,
    /// When the registry told it.
    pub told_at: DateTime<Utc>,
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
    /// What was made of it, policy by policy; the fields above are those of the first.
    #[serde(default)]
    pub plans: Vec<VersionPlan>,
    /// Policies that take it and wait.
    #[serde(default)]
    pub waits: Vec<VersionWait>,
    /// Whether the tag named another digest before.
    #[serde(default)]
    pub moved: bool,
    /// What its registry told of it; none where it was not asked, or has not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<VersionFacts>,
}

/// What one policy made of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionPlan {
    /// Its place in the order in which policies were asked, from 0.
    pub position: i64,
    /// What the planner made of the version.
    pub decision: PlanDecision,
    /// Why, for people.
    pub detail: Option<String>,
    /// The policy that decided.
    pub policy_id: Option<PolicyId>,
    /// The rollout it led to.
    pub rollout_id: Option<RolloutId>,
    /// When it was decided.
    pub decided_at: DateTime<Utc>,
}

/// A digest that ships no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuarantinedDigest {
    /// The digest.
    pub digest: Digest,
    /// The repository it failed in.
    pub repository: String,
    /// The class of devices it is about, as a device tag; none where it is about all devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_key: Option<String>,
    /// The value of that tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag_value: Option<String>,
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

/// A device that failed good images again and again, set aside for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Penalty {
    /// The device.
    pub device_uuid: DeviceId,
    /// Why, for people.
    pub reason: String,
    /// What that rests on.
    #[schema(value_type = Object)]
    pub evidence: Value,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Until when rollouts skip it.
    pub until: DateTime<Utc>,
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
    /// Its own IANA time zone, for maintenance windows that name none; `null` takes it away.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "Europe/Berlin", max_length = 64)]
    pub time_zone: Option<Option<String>>,
}

/// A field that was given, be it as null.
fn given<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
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
