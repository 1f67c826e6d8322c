//! Trying policies on an image: which would take it, and what would happen.

use super::{Conflict, PlannedBatch};
use crate::freeze::Freeze;
use crate::ids::PolicyId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// `POST /image-policies/test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyTestRequest {
    /// What would be pushed: `repository:tag`, with its digest or without.
    #[schema(
        min_length = 1,
        max_length = 512,
        example = "registry:5000/demo/app:v2"
    )]
    pub image: String,
}

/// What a push of an image would do; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyTest {
    /// The image as a reference.
    pub image: String,
    /// The digest, as far as it is known: the one given, or the one the tag named last.
    pub digest: Option<String>,
    /// What would happen, in a sentence.
    pub outcome: String,
    /// Whether the digest is in quarantine for all devices.
    pub quarantined: bool,
    /// Freezes in force or to come.
    pub freezes: Vec<Freeze>,
    /// Every policy, in the order in which they are asked.
    pub policies: Vec<PolicyMatch>,
}

/// What one policy makes of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyMatch {
    /// The policy.
    pub policy_id: PolicyId,
    /// Its name.
    pub name: String,
    /// Its priority.
    pub priority: i32,
    /// Whether it takes the image and is enabled.
    pub matches: bool,
    /// The first thing that keeps it from taking the image.
    pub mismatch: Option<String>,
    /// The version that its tag rule reads in the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What a push would wait for before there is a rollout: a hold, the policy's minimum age, a signature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Devices of its rollout, skipped ones included; devices that an earlier policy takes are not
    /// among them.
    pub total_devices: i64,
    /// How many of them would be skipped, by reason.
    pub skipped: BTreeMap<String, i64>,
    /// The batches, first to last.
    pub batches: Vec<PlannedBatch>,
    /// What its rollout would wait for before its first batch, or why there would be none.
    pub waiting_for: Option<String>,
    /// Rollouts of the same image over some of the same devices.
    pub conflicts: Vec<Conflict>,
}
