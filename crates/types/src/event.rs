//! Events: what happened, in the order in which it settled. The log is the audit trail.

use crate::ids::{CorrelationId, DeviceId, RolloutId};
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

text_enum! {
    /// Every kind of event.
    EventType {
        /// A registry's delivery was stored.
        WebhookReceived = "image.webhook_received",
        /// A new version of an image is there to be shipped.
        UpdateAvailable = "image.update_available",
        /// A pushed version leads to no rollout; the data say why.
        UpdateIgnored = "image.update_ignored",
        /// A pushed version waits before a policy ships it, or a rollout by hand for what its registry is asked; the
        /// data say for what and until when.
        UpdateWaits = "image.update_waits",
        /// A registry told of an image's platforms or signatures, or did not.
        FactsLearned = "image.facts_learned",
        /// A rollout was made, with its devices and batches.
        RolloutCreated = "image.rollout_created",
        /// A rollout admits its first batch.
        RolloutStarted = "image.rollout_started",
        /// A batch was admitted.
        RolloutBatchStarted = "image.rollout_batch_started",
        /// Every reachable device of a batch is done.
        RolloutBatchCompleted = "image.rollout_batch_completed",
        /// A rollout admits nobody until it is resumed.
        RolloutPaused = "image.rollout_paused",
        /// A rollout goes on.
        RolloutResumed = "image.rollout_resumed",
        /// A rollout's batches are all done.
        RolloutCompleted = "image.rollout_completed",
        /// A rollout ended without success.
        RolloutFailed = "image.rollout_failed",
        /// An operator ended a rollout.
        RolloutCancelled = "image.rollout_cancelled",
        /// A newer version ended a rollout.
        RolloutSuperseded = "image.rollout_superseded",
        /// A rollout that has not begun waits for something else than before; the data have its status.
        RolloutWaiting = "image.rollout_waiting",
        /// A rollout, or a batch of it, was approved.
        RolloutApproved = "image.rollout_approved",
        /// A check of a batch was decided.
        RolloutCheckDecided = "image.rollout_check_decided",
        /// An operator cut the delay before the next batch short.
        RolloutDelayCut = "image.rollout_delay_cut",
        /// A rollout goes on in spite of freezes.
        FreezeOverridden = "image.freeze_overridden",
        /// A whole rollout is being taken back.
        RollbackStarted = "image.rollback_started",
        /// A whole rollout was taken back.
        RollbackCompleted = "image.rollback_completed",
        /// A digest ships no more.
        Quarantined = "image.quarantined",
        /// A person lifted a quarantine.
        QuarantineLifted = "image.quarantine_lifted",
        /// A device was registered.
        DeviceRegistered = "device.registered",
        /// A device's fleet, tags, name or switch were changed.
        DeviceChanged = "device.changed",
        /// A person set a device's target.
        TargetSet = "device.target_set",
        /// What a device runs changed.
        StateChanged = "device.state_changed",
        /// A device's target names a rollout's image.
        ImageUpdateScheduled = "device.image_update_scheduled",
        /// A rollout leaves a device out whose turn had come, or lets go of it; the data say why.
        DeviceSkipped = "device.skipped",
        /// A device joined a rollout that was running.
        DeviceJoined = "device.joined_rollout",
        /// A device failed for a reason that is not the image's, and is tried again later.
        RetryScheduled = "device.retry_scheduled",
        /// A device's time is over without a yes or a no.
        DeviceInconclusive = "device.inconclusive",
        /// A device that failed good images again and again was set aside.
        PenaltyBoxed = "device.penalty_boxed",
        /// A device set aside takes part again.
        PenaltyLifted = "device.penalty_lifted",
        /// A device was deleted.
        DeviceDeleted = "device.deleted",
        /// A device pulls the image.
        ImagePulling = "device.image_pulling",
        /// A device has pulled the image.
        ImagePulled = "device.image_pulled",
        /// A device has received its new target and works on it.
        ContainerUpdating = "device.container_updating",
        /// A device is healthy on the new image.
        UpdateCompleted = "device.update_completed",
        /// A device failed on the new image.
        UpdateFailed = "device.update_failed",
        /// A device is silent since it was admitted.
        DeviceUnreachable = "device.unreachable",
        /// A device runs the new image; its stable window is open.
        VerificationStarted = "device.verification_started",
        /// The stable window passed.
        HealthCheckPassed = "device.health_check_passed",
        /// A definite sign of failure was seen.
        HealthCheckFailed = "device.health_check_failed",
        /// A device's target names its last good image again.
        RollbackScheduled = "device.rollback_scheduled",
        /// A device runs its last good image again.
        DeviceRolledBack = "device.rolled_back",
        /// A device did not get back.
        DeviceRollbackFailed = "device.rollback_failed",
        /// A policy was made.
        PolicyCreated = "policy.created",
        /// A policy was changed.
        PolicyUpdated = "policy.updated",
        /// A policy was deleted.
        PolicyDeleted = "policy.deleted",
        /// A provisioning key was made.
        ProvisioningKeyCreated = "provisioning_key.created",
        /// A provisioning key was revoked.
        ProvisioningKeyRevoked = "provisioning_key.revoked",
        /// An operator was given a key.
        OperatorKeyCreated = "operator_key.created",
        /// An operator's key was revoked.
        OperatorKeyRevoked = "operator_key.revoked",
        /// An operator gave a command.
        CommandGiven = "operator.command_given",
        /// A command was carried out or refused.
        CommandSettled = "operator.command_settled",
        /// A freeze was made, or all rollouts were stopped.
        FreezeCreated = "freeze.created",
        /// A freeze was lifted.
        FreezeLifted = "freeze.lifted",
        /// A policy or a repository was held: nothing new of it ships.
        HoldCreated = "hold.created",
        /// A hold was lifted.
        HoldLifted = "hold.lifted",
    }
}

/// A place in the log: after this event. Opaque outside, `<tx>-<seq>`; ordered as the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor {
    /// The writing transaction (0 on SQLite).
    pub tx: i64,
    /// The event's number.
    pub seq: i64,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.tx, self.seq)
    }
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no event cursor; expected one as events carry it, such as 12-34")]
pub struct InvalidCursor(pub String);

impl std::str::FromStr for Cursor {
    type Err = InvalidCursor;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || InvalidCursor(text.to_owned());
        let (tx, seq) = text.split_once('-').ok_or_else(bad)?;
        let number = |part: &str| {
            part.parse::<i64>()
                .ok()
                .filter(|n| *n >= 0 && !part.starts_with('+'))
                .ok_or_else(bad)
        };
        Ok(Self {
            tx: number(tx)?,
            seq: number(seq)?,
        })
    }
}

impl TryFrom<String> for Cursor {
    type Error = InvalidCursor;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// An event to be appended.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventType,
    /// The rollout it is about.
    pub rollout_id: Option<RolloutId>,
    /// The device it is about.
    pub device_uuid: Option<DeviceId>,
    /// What else it is about: an image, a policy's or delivery's id.
    pub subject: Option<String>,
    /// The device's target version that it made, for events that change a target.
    pub version: Option<i64>,
    /// Details.
    pub data: serde_json::Value,
    /// Who did it: a service's name, `operator:<name>` or `device`.
    pub actor: String,
    /// What ties it to its origin.
    pub correlation_id: Option<CorrelationId>,
    /// The event that led to it.
    pub causation: Option<Cursor>,
}

impl NewEvent {
    /// An event with nothing but its kind and who did it.
    #[must_use]
    pub fn new(kind: EventType, actor: impl Into<String>) -> Self {
        Self {
            kind,
            rollout_id: None,
            device_uuid: None,
            subject: None,
            version: None,
            data: serde_json::Value::Object(serde_json::Map::new()),
            actor: actor.into(),
            correlation_id: None,
            causation: None,
        }
    }

    /// About this rollout.
    #[must_use]
    pub fn rollout(mut self, id: RolloutId, correlation: CorrelationId) -> Self {
        self.rollout_id = Some(id);
        self.correlation_id = Some(correlation);
        self
    }

    /// About this device.
    #[must_use]
    pub const fn device(mut self, id: DeviceId) -> Self {
        self.device_uuid = Some(id);
        self
    }

    /// About this image, policy or delivery.
    #[must_use]
    pub fn subject(mut self, subject: &dyn std::fmt::Display) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    /// It made this target version.
    #[must_use]
    pub const fn version(mut self, version: i64) -> Self {
        self.version = Some(version);
        self
    }

    /// With these details.
    #[must_use]
    pub fn data(mut self, data: serde_json::Value) -> Self {
        self.data = data;
        self
    }

    /// With where the rollout stands from now on, beside the details given before: the log alone then
    /// tells what is stored.
    #[must_use]
    pub fn stands(mut self, rollout: &crate::rollout::Rollout) -> Self {
        if let Some(data) = self.data.as_object_mut() {
            let stands = serde_json::json!({
                "status": rollout.status,
                "reason": rollout.status_reason,
                "batch": rollout.current_batch,
            });
            data.insert("rollout".to_owned(), stands);
        }
        self
    }

    /// Tied to this origin.
    #[must_use]
    pub const fn correlation(mut self, id: Option<CorrelationId>) -> Self {
        self.correlation_id = id;
        self
    }

    /// Led to by this event.
    #[must_use]
    pub const fn caused_by(mut self, cursor: Option<Cursor>) -> Self {
        self.causation = cursor;
        self
    }
}

/// An event as stored, published and streamed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its place in the log, `<tx>-<seq>`.
    #[schema(value_type = String)]
    pub id: Cursor,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When.
    pub occurred_at: DateTime<Utc>,
    /// The rollout it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_id: Option<RolloutId>,
    /// The device it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_uuid: Option<DeviceId>,
    /// What else it is about: an image, a policy's or delivery's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The device's target version that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Details.
    pub data: serde_json::Value,
    /// Who did it.
    pub actor: String,
    /// What ties it to its origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
    /// The event that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub causation: Option<Cursor>,
}
