//! Why a device, a rollout or an image moved or did not.

mod code;
pub mod facts;

pub use code::WhyCode;

use crate::delivery::RolloutSummary;
use crate::ids::{DeviceId, RolloutId};
use crate::image::Digest;
use crate::rollout::{DeviceStatus, RolloutStatus};
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

text_enum! {
    /// What part a reason plays.
    WhyKind {
        /// It keeps things from moving, and will change.
        Waits = "waits",
        /// It settled the matter: nothing more is waited for.
        Decided = "decided",
        /// It holds nothing up, and helps to understand the rest.
        Known = "known",
    }
}

/// One reason. In a list they stand in the order in which they decide, those that only help to
/// understand the rest at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WhyReason {
    /// For programs. docs/why.md lists them all.
    pub code: WhyCode,
    /// What part it plays.
    pub kind: WhyKind,
    /// For people.
    pub sentence: String,
    /// Since when it is so, where that is known.
    pub since: Option<DateTime<Utc>>,
    /// When it changes by itself at the latest, or is looked at again.
    pub changes_at: Option<DateTime<Utc>>,
    /// What a person has to do, where it does not change by itself.
    pub needs: Option<String>,
    /// The data that the sentence is made from.
    #[schema(value_type = Object)]
    pub details: Value,
}

/// Why a device runs what it runs, or does not move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The device.
    pub uuid: DeviceId,
    /// One thing each, for people, in the order in which they decide.
    pub sentences: Vec<String>,
    /// The same for programs.
    #[serde(default)]
    pub reasons: Vec<WhyReason>,
    /// The first thing it waits for; none where it waits for nothing.
    #[serde(default)]
    pub waiting_for: Option<WhyReason>,
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

/// Why a rollout does not move, or how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutWhy {
    /// The rollout.
    pub id: RolloutId,
    /// Its image as a reference.
    pub image: String,
    /// Where it stands.
    pub status: RolloutStatus,
    /// One thing each, for people, in the order in which they decide.
    pub sentences: Vec<String>,
    /// The same for programs.
    pub reasons: Vec<WhyReason>,
    /// The first thing it waits for; none where it waits for nothing.
    pub waiting_for: Option<WhyReason>,
}

/// Why a pushed image went to devices, or did not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImageWhy {
    /// The image as it was asked for, in canonical form.
    pub image: String,
    /// One thing each, for people, in the order in which they decide.
    pub sentences: Vec<String>,
    /// The same for programs.
    pub reasons: Vec<WhyReason>,
    /// The first thing it waits for; none where it waits for nothing.
    pub waiting_for: Option<WhyReason>,
    /// The rollouts that its latest version led to, latest first.
    pub rollouts: Vec<RolloutSummary>,
}
