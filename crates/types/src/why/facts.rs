//! What an answer to "why" rests on: everything is read from the store, nothing is decided here.

use super::FailedDigest;
use crate::api::{ImageVersion, Penalty, QuarantinedDigest};
use crate::delivery::{Decision, ReasonCode};
use crate::device::Device;
use crate::facts::RolloutFacts;
use crate::image::{Digest, Repository};
use crate::observation::Observation;
use crate::policy::Policy;
use crate::rollout::{CheckStatus, RolloutDevice, RolloutView};
use crate::target::TargetSource;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// What is known of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutStory {
    /// The rollout with its batches.
    pub view: RolloutView,
    /// What its next step depends on; none once it has ended.
    pub facts: Option<RolloutFacts>,
    /// The last turn it took: a pause, the order to go back, its end.
    pub turn: Option<Turn>,
    /// The image of the rollout that took its place.
    pub superseded_by: Option<String>,
    /// When the present batch was completed.
    pub batch_completed_at: Option<DateTime<Utc>>,
    /// The ways back of its devices.
    pub back: GoingBack,
    /// Values of limited tags with as many unavailable devices as the rule allows, at most a few.
    pub full: Vec<LabelUse>,
}

/// How far the ways back of a rollout's devices are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GoingBack {
    /// On their way.
    pub on_their_way: i64,
    /// To be put back, and waiting for one of those.
    pub waiting: i64,
}

/// A turn that a rollout took, as the event log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// Why, in the words of whoever did it.
    pub detail: Option<String>,
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceStory {
    /// The device.
    pub device: Device,
    /// What it is to run; none for a device without a target.
    pub target: Option<TargetFacts>,
    /// What is made of its reports.
    pub observation: Observation,
    /// That it is set aside, or was the last time.
    pub penalty: Option<Penalty>,
    /// Its places in rollouts, latest first.
    pub places: Vec<Place>,
    /// Digests that failed on it.
    pub failed: Vec<FailedDigest>,
    /// Every policy; only where it is in no rollout that has not ended.
    pub policies: Vec<Policy>,
}

/// A device's target in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// Its version.
    pub version: i64,
    /// Who gave it.
    pub source: TargetSource,
    /// When.
    pub updated_at: DateTime<Utc>,
    /// The services it names: app, service, image.
    pub services: Vec<(i64, i64, String)>,
}

/// A device's place in a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Where it stands.
    pub row: RolloutDevice,
    /// Whether it failed for a reason that is not the image's.
    pub environment: bool,
    /// The rollout.
    pub rollout: RolloutStory,
    /// The checks that are run against it, in the order of the rule.
    pub checks: Vec<DeviceCheck>,
    /// The limits by tag that concern it, with who is unavailable now.
    pub labels: Vec<LabelUse>,
    /// The rollout that has it instead, as an image: another of the same image with a higher
    /// priority, or the one that moved its target.
    pub other: Option<String>,
    /// Where it waits for its turn to go back, how many devices of the rollout go before it.
    pub back_before: Option<i64>,
}

/// A check that is run against a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCheck {
    /// Its place in the batch's list of checks, from 0.
    pub position: i64,
    /// What became of it.
    pub status: CheckStatus,
    /// How often it was tried.
    pub tries: i64,
    /// What it said last.
    pub output: String,
    /// When it was tried last.
    pub checked_at: Option<DateTime<Utc>>,
    /// Until when it must have passed.
    pub deadline_at: DateTime<Utc>,
}

/// How many devices that share a value of a tag are unavailable, by the count that admissions go by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelUse {
    /// The tag.
    pub key: String,
    /// The value of it; of a device's place, the device's own.
    pub value: String,
    /// How many may be unavailable.
    pub limit: i64,
    /// How many are; of a device's place, the device itself not counted.
    pub unavailable: i64,
    /// How many of those do not come back by themselves: silent ones, and failed ones that nobody has
    /// put back.
    pub stuck: i64,
    /// Some of them by name.
    pub holders: Vec<String>,
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageStory {
    /// The repository that was asked about.
    pub repository: Repository,
    /// The tag, where one was given.
    pub tag: Option<String>,
    /// The digest, where one was given.
    pub digest: Option<Digest>,
    /// The latest version of it that was seen.
    pub version: Option<ImageVersion>,
    /// How often the registry was asked for its digest, and when it is asked again.
    pub resolving: Option<Resolving>,
    /// What came in its place, where a newer version of the tag came.
    pub replaced_by: Option<String>,
    /// The last delivery that told of its repository and led to no version of it.
    pub delivery: Option<DeliveryFacts>,
    /// Repositories that were seen, where it was not.
    pub seen: Vec<String>,
    /// Its quarantine: for all devices, and for some.
    pub quarantine: Vec<Quarantine>,
    /// The rollouts of it, latest first.
    pub rollouts: Vec<RolloutStory>,
    /// Every policy.
    pub policies: Vec<Policy>,
}

/// How it goes with asking a registry for a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolving {
    /// How often it was asked in vain.
    pub tries: i64,
    /// When it is asked again.
    pub next_at: Option<DateTime<Utc>>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryFacts {
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// How often.
    pub received_count: i64,
    /// Who sent it.
    pub sender: String,
    /// What became of it.
    pub decision: Decision,
    /// Why it was ignored.
    pub reason: Option<ReasonCode>,
}

/// A quarantine, of all devices or a class of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Quarantine {
    /// The digest, why and since when.
    pub of: QuarantinedDigest,
    /// The rollout it failed in, as an image.
    pub rollout: Option<String>,
}
