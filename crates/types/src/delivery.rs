//! Webhook deliveries: what registries sent, and what became of it.

use crate::ids::{CorrelationId, DeliveryId, ImageVersionId, RolloutId};
use crate::image::{Digest, Repository};
use crate::rollout::RolloutStatus;
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

text_enum! {
    /// What became of a delivery.
    Decision {
        /// It told of at least one image push.
        Accepted = "accepted",
        /// It tells of a push that is known already.
        Duplicate = "duplicate",
        /// It is not about an image push; the reason code says what it is.
        Ignored = "ignored",
        /// It could not be read; `detail` says why.
        Rejected = "rejected",
    }
}

text_enum! {
    /// Why a delivery, or a part of it, is no image push.
    ReasonCode {
        /// A manifest without a tag.
        Untagged = "untagged",
        /// A package of another type.
        PackageType = "package_type",
        /// The sender tests the connection.
        Ping = "ping",
        /// Somebody pulled.
        Pull = "pull",
        /// A layer or configuration, not a manifest.
        Blob = "blob",
        /// Something was deleted.
        Delete = "delete",
        /// An event that is none of these.
        EventType = "event_type",
        /// A chart.
        Chart = "chart",
        /// A signature or attestation.
        Signature = "signature",
        /// A copy between repositories by the registry itself.
        Mount = "mount",
        /// Nothing in it.
        Empty = "empty",
        /// A finding about an image, not a push of it.
        Scan = "scan",
        /// A quota that is nearly or wholly used.
        Quota = "quota",
        /// A copy between registries began, ended or failed.
        Replication = "replication",
        /// A build began, ended or failed; the image it makes is told by its push.
        Build = "build",
        /// A mirror's run; the images it brings are told by their pushes, if at all.
        Mirror = "mirror",
        /// A push that the registry says has failed.
        FailedPush = "failed_push",
        /// The sender asks whether the endpoint is the right one.
        Handshake = "handshake",
        /// It cannot be read.
        Malformed = "malformed",
    }
}

text_enum! {
    /// Whether a pushed digest is new for its tag.
    PushKind {
        /// The first version seen under this tag.
        New = "new",
        /// The tag named another digest before.
        Moved = "moved",
        /// Known already.
        Duplicate = "duplicate",
        /// It was pushed before the version that the tag names now, and told of later.
        Stale = "stale",
    }
}

/// An image push, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Push {
    /// The registry's host, with port.
    pub registry: String,
    /// The path below it.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest, once known.
    pub digest: Option<Digest>,
    /// Whether it is new for its tag.
    pub kind: PushKind,
    /// Who pushed, as the sender says.
    pub actor: Option<String>,
    /// When, as the sender says.
    pub pushed_at: Option<DateTime<Utc>>,
}

/// A rollout that a delivery led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolloutSummary {
    /// The rollout.
    pub rollout_id: RolloutId,
    /// Where it stands.
    pub status: RolloutStatus,
    /// Devices in it.
    pub affected_devices: i64,
}

/// The answer to a webhook, and what the API shows of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryOutcome {
    /// Its id here; a repeated delivery gets the first one's.
    pub delivery_id: DeliveryId,
    /// What became of it.
    pub decision: Decision,
    /// Why it was ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<ReasonCode>,
    /// The pushes it told of.
    pub images: Vec<Push>,
    /// The rollouts these led to so far.
    pub rollouts: Vec<RolloutSummary>,
}

/// A delivery as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// The endpoint it came in at.
    pub endpoint: String,
    /// The sender that was recognised: docker_hub, ghcr, distribution.
    pub sender: String,
    /// The sender's own id for it.
    pub sender_delivery_id: Option<String>,
    /// When it came in first.
    pub received_at: DateTime<Utc>,
    /// How often it came in.
    pub received_count: i64,
    /// What was wrong with it, where it was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When somebody had it read again last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed_at: Option<DateTime<Utc>>,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: DeliveryOutcome,
}

/// A delivery with what was received, as shown alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// The headers that are kept: none that could hold a secret.
    pub headers: BTreeMap<String, String>,
    /// Bytes of the body as received.
    pub body_bytes: i64,
    /// Whether the body is still stored; it is dropped after the time of retention.
    pub body_kept: bool,
    /// What ties together everything it caused.
    #[schema(value_type = uuid::Uuid)]
    pub correlation_id: CorrelationId,
}

/// That an endpoint is there, and how it wants to be talked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndpointTest {
    /// Its name.
    pub endpoint: String,
    /// `ready`.
    pub status: String,
    /// Whether deliveries must prove that they know a secret.
    pub authenticated: bool,
    /// The only sender it takes; none where senders are recognised.
    pub sender: Option<String>,
    /// Bytes of a delivery at most.
    pub max_body_bytes: usize,
}

/// What became of a delivery that was read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// What had become of it before.
    pub before: Decision,
    /// What today's reading makes of it; where that is less than before, the delivery stays as it was.
    pub decision: Decision,
    /// What is wrong with it, where it is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Versions that are new because of it.
    pub new_versions: i64,
    /// The delivery as it stands now.
    pub delivery: Delivery,
}

/// A push as it would be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedPush {
    /// The registry's host, with port.
    pub registry: String,
    /// The path below it.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digest, where the delivery tells it.
    pub digest: Option<Digest>,
    /// Who pushed, as the sender says.
    pub actor: Option<String>,
    /// When, as the sender says.
    pub pushed_at: Option<DateTime<Utc>>,
}

/// What a delivery would be read as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tried {
    /// The sender that is recognised or fixed.
    pub sender: Option<String>,
    /// `accepted`, `ignored` or `rejected`; whether a push is known already is not looked up.
    pub decision: Decision,
    /// Why it would be ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<ReasonCode>,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The pushes it tells of.
    pub images: Vec<TriedPush>,
}

/// How often something happened, and which share of all deliveries that is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Share {
    /// Deliveries.
    pub count: i64,
    /// Of all that were stored in the same time, 0 to 1.
    pub share: f64,
}

/// What an endpoint refused for one reason, since ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// `unauthorized`, `malformed`, `too_large`, `too_slow`, `too_many`, `unavailable`, `failed`.
    pub reason: String,
    /// How often.
    pub count: i64,
    /// When last.
    pub last_at: DateTime<Utc>,
    /// What was said the last time.
    pub detail: String,
}

/// How an endpoint is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EndpointHealth {
    /// Its name.
    pub endpoint: String,
    /// Whether the configuration still has it.
    pub configured: bool,
    /// Whether deliveries must prove where they come from. An endpoint where they need not is a hole
    /// that somebody decided to have.
    pub authenticated: bool,
    /// When something came last that was stored.
    pub last_received_at: Option<DateTime<Utc>>,
    /// When a push was accepted last.
    pub last_accepted_at: Option<DateTime<Utc>>,
    /// The last refusal.
    pub last_refusal: Option<Refusal>,
    /// The time that the numbers below are of, in days.
    pub days: i64,
    /// Deliveries that were stored, repetitions not counted.
    pub received: i64,
    /// Of these, with a push that was new.
    pub accepted: i64,
    /// With pushes that were known.
    pub duplicate: i64,
    /// Without a push, by reason.
    pub ignored: BTreeMap<String, Share>,
    /// That could not be read.
    pub rejected: i64,
    /// Pushes that the watch found and that this endpoint should have been told of, and was not.
    #[serde(default)]
    pub missed: i64,
    /// When the last of them was found, since ever.
    #[serde(default)]
    pub last_missed_at: Option<DateTime<Utc>>,
    /// Everything that was refused, since ever.
    pub refusals: Vec<Refusal>,
}

/// One version of a tag that was seen: what a push makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenVersion {
    /// Its id.
    pub id: ImageVersionId,
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: String,
    /// The digest, once known.
    pub digest: Option<Digest>,
    /// Whether it was the first of its tag (`new` or `moved`).
    pub kind: PushKind,
    /// Who pushed.
    pub actor: Option<String>,
    /// When it was pushed, as the sender says.
    pub pushed_at: Option<DateTime<Utc>>,
    /// When it was told of first.
    pub seen_at: DateTime<Utc>,
    /// The delivery that told of it first.
    pub delivery_id: Option<DeliveryId>,
    /// What ties together everything it causes.
    pub correlation_id: CorrelationId,
    /// When the tag moved on; `None` while the tag names this version.
    pub replaced_at: Option<DateTime<Utc>>,
    /// How often the registry was asked for the digest in vain.
    pub resolve_attempts: i64,
    /// Why the last try was in vain.
    pub resolve_error: Option<String>,
}

/// A push as a sender's parser reads it, before anything is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedPush {
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: String,
    /// The digest, where the sender names it rightly.
    pub digest: Option<Digest>,
    /// Who pushed.
    pub actor: Option<String>,
    /// When.
    pub pushed_at: Option<DateTime<Utc>>,
}
