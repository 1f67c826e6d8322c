//! Quarantine: digests that ship no more until a person lifts that.

use crate::ids::RolloutId;
use crate::image::{Digest, Repository};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A digest in quarantine, with what put it there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuarantinedDigest {
    /// The digest.
    pub digest: Digest,
    /// The repository it was shipped from.
    pub repository: Repository,
    /// The rollout it failed in.
    pub rollout_id: Option<RolloutId>,
    /// Why, for people.
    pub reason: String,
    /// What that rests on.
    #[schema(value_type = Object)]
    pub evidence: serde_json::Value,
    /// Since when.
    pub created_at: DateTime<Utc>,
}
