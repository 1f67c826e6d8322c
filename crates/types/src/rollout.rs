//! Rollouts and the devices in them.

use crate::freeze::Freeze;
use crate::ids::{CommandId, CorrelationId, DeliveryId, DeviceId, PolicyId, RolloutId};
use crate::image::{Digest, Repository};
use crate::policy::{Filters, RolloutRule, Strategy, TagRule};
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

text_enum! {
    /// Where a rollout stands.
    RolloutStatus {
        /// Created; its first batch has not been admitted.
        Pending = "pending",
        /// Waits for a person's approval.
        AwaitingApproval = "awaiting_approval",
        /// Waits for its start time or window.
        Scheduled = "scheduled",
        /// Batches are being admitted and judged.
        InProgress = "in_progress",
        /// Admits nobody until it is resumed.
        Paused = "paused",
        /// Every batch is done.
        Completed = "completed",
        /// Ended without success.
        Failed = "failed",
        /// Ended by an operator.
        Cancelled = "cancelled",
        /// Ended because a newer version of the same image came.
        Superseded = "superseded",
        /// Puts its devices back.
        RollingBack = "rolling_back",
        /// Has put its devices back.
        RolledBack = "rolled_back",
    }
}

impl RolloutStatus {
    /// Whether nothing more is admitted, ever. The only order it still takes is to be rolled back.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Cancelled | Self::Superseded | Self::RolledBack
        )
    }
}

text_enum! {
    /// Where a device stands in a rollout.
    DeviceStatus {
        /// In scope; its batch has not been admitted.
        Pending = "pending",
        /// Admitted: its target names the new image.
        Scheduled = "scheduled",
        /// It has received the new target and works on it.
        Updating = "updating",
        /// The new image runs; the stable window is open.
        Verifying = "verifying",
        /// Healthy on the new image.
        Completed = "completed",
        /// Judged failed; see the evidence.
        Failed = "failed",
        /// Silent since it was admitted; neither for nor against the image.
        Unreachable = "unreachable",
        /// Its time is over and its checks said neither yes nor no; neither for nor against the image.
        Inconclusive = "inconclusive",
        /// Left out; see the reason.
        Skipped = "skipped",
        /// Its target names its last good image again.
        RollingBack = "rolling_back",
        /// It runs its last good image again.
        RolledBack = "rolled_back",
        /// It did not get back in time, or there is nothing to go back to.
        RollbackFailed = "rollback_failed",
    }
}

impl DeviceStatus {
    /// Admitted and not yet judged.
    #[must_use]
    pub const fn is_in_flight(self) -> bool {
        matches!(self, Self::Scheduled | Self::Updating | Self::Verifying)
    }

    /// Nothing more is expected of the device for its batch to end.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::Scheduled | Self::Updating | Self::Verifying
        )
    }
}

text_enum! {
    /// Why a device in scope is left out.
    SkipReason {
        /// It is switched off by the operator.
        Disabled = "disabled",
        /// This digest failed on this device before.
        FailedHereBefore = "failed_here_before",
        /// Its target names this very image already.
        AlreadyOnImage = "already_on_image",
        /// Another rollout moved its target on meanwhile.
        TargetChanged = "target_changed",
        /// The rollout ended before its turn.
        RolloutEnded = "rollout_ended",
        /// It no longer is among the devices the rollout is for: its fleet or tags changed.
        OutOfScope = "out_of_scope",
        /// It was deleted.
        Deleted = "deleted",
        /// Its target names a higher version, and the rollout may not go below that.
        Downgrade = "downgrade",
        /// It failed good images again and again and is set aside for a time.
        PenaltyBox = "penalty_box",
        /// A rollout of the same image with a higher priority has it.
        HigherPriority = "higher_priority",
        /// The digest is in quarantine for devices of its class.
        Quarantined = "quarantined",
        /// What it is to run cannot be read, so nothing in it can be changed.
        Unreadable = "unreadable",
        /// The image is not made for its platform.
        OtherPlatform = "other_platform",
    }
}

text_enum! {
    /// Why a rollout is paused, failed or otherwise not moving.
    StatusReason {
        /// More than the allowed share of attempted devices failed.
        FailureRate = "failure_rate",
        /// Too many devices failed in a row.
        ConsecutiveFailures = "consecutive_failures",
        /// More than the allowed share failed for reasons that are not the image's.
        EnvironmentFailures = "environment_failures",
        /// More than the allowed share went silent after they took up the image.
        WentSilent = "went_silent",
        /// A check of a batch failed.
        CheckFailed = "check_failed",
        /// A check, or a device's, said neither yes nor no: that is no pass.
        Inconclusive = "inconclusive",
        /// No device answered, so nothing is known about the image.
        NoEvidence = "no_evidence",
        /// The digest is in quarantine.
        Quarantined = "quarantined",
        /// The image lacks a signature that the policy wants by now.
        Unsigned = "unsigned",
        /// A person asked for it.
        Operator = "operator",
        /// A newer version of the image came.
        NewerVersion = "newer_version",
    }
}

text_enum! {
    /// What an operator can order of a rollout.
    CommandKind {
        /// Admit nobody more.
        Pause = "pause",
        /// Go on.
        Resume = "resume",
        /// End it; devices keep what they have.
        Cancel = "cancel",
        /// Let a rollout, or a batch of it, begin that waits for that.
        Approve = "approve",
        /// Start the next batch now, without the rest of its delay.
        NextBatch = "next_batch",
        /// Admit devices again that failed, were inconclusive or were put back: one or all of them.
        Retry = "retry",
        /// Let this rollout go on in spite of freezes.
        OverrideFreeze = "override_freeze",
        /// Put every device of one batch back.
        RollbackBatch = "rollback_batch",
        /// Put every device of the rollout back.
        RollbackAll = "rollback_all",
        /// Put one device back.
        RollbackDevice = "rollback_device",
    }
}

text_enum! {
    /// What became of a command.
    CommandOutcome {
        /// Not yet looked at.
        Pending = "pending",
        /// Carried out.
        Applied = "applied",
        /// Nothing to do: it was so already.
        NoChange = "no_change",
        /// Not possible in the state the rollout was in.
        Refused = "refused",
    }
}

/// A command as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// The rollout it is for.
    pub rollout_id: RolloutId,
    /// The device it is for, where it is for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_uuid: Option<DeviceId>,
    /// The batch it is for, where it is for one, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<i64>,
    /// What is ordered.
    pub kind: CommandKind,
    /// Who ordered it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What became of it.
    pub outcome: CommandOutcome,
    /// Details of the outcome, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When it was given.
    pub created_at: DateTime<Utc>,
}

/// A rollout as stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// The policy it follows; none where an operator triggered it by hand.
    pub policy_id: Option<PolicyId>,
    /// The delivery that caused it.
    pub delivery_id: Option<DeliveryId>,
    /// The repository it is about.
    pub repository: Repository,
    /// The tag it ships.
    pub tag: Option<String>,
    /// The digest it ships; none only where the policy ships tags whose digest is unknown.
    pub digest: Option<Digest>,
    /// How it goes to its devices.
    pub strategy: Strategy,
    /// The rule it took with it when it was created.
    pub rule: RolloutRule,
    /// Which devices it was made for.
    pub filters: Filters,
    /// Which services of the repository it moves: those whose present tag the rule takes.
    pub tag_rule: TagRule,
    /// Of two rollouts of the same image over the same device the one with the higher priority has
    /// it, and the newer one where they are equal. The policy's; the highest for rollouts by hand.
    pub priority: i32,
    /// Who let it go on in spite of freezes, and why.
    pub freeze_override: Option<String>,
    /// When: freezes made later, the stop button above all, hold it again.
    #[serde(default)]
    pub freeze_override_at: Option<DateTime<Utc>>,
    /// What batch membership is drawn from; equal seeds give equal batches.
    pub seed: i64,
    /// Where it stands.
    pub status: RolloutStatus,
    /// Why, where that needs saying.
    pub status_reason: Option<StatusReason>,
    /// The same for people.
    pub status_detail: Option<String>,
    /// The batch admitted last, from 1; 0 before the first.
    pub current_batch: i64,
    /// How many batches there are.
    pub batch_count: i64,
    /// When the next batch may start, while one is waited for.
    pub next_batch_at: Option<DateTime<Utc>>,
    /// How many devices are in it.
    pub total_devices: i64,
    /// Raised by each change.
    pub version: i64,
    /// What ties its events together.
    pub correlation_id: CorrelationId,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When its first batch was admitted.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// How many devices of one batch stand where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchProgress {
    /// The batch, from 1.
    pub batch: i64,
    /// Devices in it.
    pub total: i64,
    /// See [`DeviceStatus`].
    pub pending: i64,
    /// See [`DeviceStatus`].
    pub scheduled: i64,
    /// See [`DeviceStatus`].
    pub updating: i64,
    /// See [`DeviceStatus`].
    pub verifying: i64,
    /// See [`DeviceStatus`].
    pub completed: i64,
    /// See [`DeviceStatus`].
    pub failed: i64,
    /// See [`DeviceStatus`].
    pub unreachable: i64,
    /// See [`DeviceStatus`].
    pub inconclusive: i64,
    /// See [`DeviceStatus`].
    pub skipped: i64,
    /// See [`DeviceStatus`].
    pub rolling_back: i64,
    /// See [`DeviceStatus`].
    pub rolled_back: i64,
    /// See [`DeviceStatus`].
    pub rollback_failed: i64,
    /// Devices judged healthy or failed on the new image, whatever happened to them since.
    pub attempted: i64,
    /// Those of them judged failed.
    pub attempted_failed: i64,
    /// Devices that failed for reasons that are not the image's, not counted as attempted.
    pub environment_failed: i64,
    /// Unreachable devices that had taken up the image before they went silent.
    pub went_silent: i64,
}

impl BatchProgress {
    /// Adds so many devices of one status.
    pub const fn add(&mut self, status: DeviceStatus, devices: i64) {
        self.total += devices;
        let slot = match status {
            DeviceStatus::Pending => &mut self.pending,
            DeviceStatus::Scheduled => &mut self.scheduled,
            DeviceStatus::Updating => &mut self.updating,
            DeviceStatus::Verifying => &mut self.verifying,
            DeviceStatus::Completed => &mut self.completed,
            DeviceStatus::Failed => &mut self.failed,
            DeviceStatus::Unreachable => &mut self.unreachable,
            DeviceStatus::Inconclusive => &mut self.inconclusive,
            DeviceStatus::Skipped => &mut self.skipped,
            DeviceStatus::RollingBack => &mut self.rolling_back,
            DeviceStatus::RolledBack => &mut self.rolled_back,
            DeviceStatus::RollbackFailed => &mut self.rollback_failed,
        };
        *slot += devices;
    }

    /// Devices admitted and not yet judged.
    #[must_use]
    pub const fn in_flight(&self) -> i64 {
        self.scheduled + self.updating + self.verifying
    }
}

/// A rollout with its progress, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// The rollout.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// Its image as a reference, `repository:tag@digest`.
    pub image: String,
    /// Its batches, first to last.
    pub batches: Vec<BatchProgress>,
    /// What it waits for, where it does not move.
    pub waiting_for: Option<String>,
    /// Who approved which batch.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// The gate checks of the batch admitted last.
    #[serde(default)]
    pub checks: Vec<GateCheck>,
    /// The freezes that hold it.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
    /// What its failures come to.
    #[serde(default)]
    pub failures: FailureRates,
}

/// What a rollout's failures come to, over all its batches. Shares are none where they are of nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FailureRates {
    /// Devices judged healthy or failed on the new image.
    pub attempted: i64,
    /// Those of them judged failed.
    pub failed: i64,
    /// Their share, 0 to 1.
    pub failure_rate: Option<f64>,
    /// Devices that failed for reasons that are not the image's.
    pub environment_failed: i64,
    /// Their share of the devices admitted.
    pub environment_failure_rate: Option<f64>,
    /// Devices that went silent after they took up the image.
    pub went_silent: i64,
    /// Their share of the devices admitted.
    pub silent_rate: Option<f64>,
}

impl FailureRates {
    /// Of these batches.
    #[must_use]
    pub fn of(batches: &[BatchProgress]) -> Self {
        let sum = |count: fn(&BatchProgress) -> i64| batches.iter().map(count).sum::<i64>();
        #[allow(clippy::cast_precision_loss, reason = "devices are far below 2^52")]
        let share = |part: i64, whole: i64| (whole > 0).then(|| part as f64 / whole as f64);
        let attempted = sum(|batch| batch.attempted);
        let failed = sum(|batch| batch.attempted_failed);
        let environment_failed = sum(|batch| batch.environment_failed);
        let went_silent = sum(|batch| batch.went_silent);
        let admitted = sum(|batch| batch.total - batch.pending - batch.skipped);
        Self {
            attempted,
            failed,
            failure_rate: share(failed, attempted),
            environment_failed,
            environment_failure_rate: share(environment_failed, admitted),
            went_silent,
            silent_rate: share(went_silent, admitted),
        }
    }
}

/// A device in a rollout, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutDevice {
    /// The rollout.
    pub rollout_id: RolloutId,
    /// The device.
    pub device_uuid: DeviceId,
    /// Its batch, from 1.
    pub batch: i64,
    /// Where it stands.
    pub status: DeviceStatus,
    /// Why, where that needs saying: a skip reason or a verdict's cause.
    pub reason: Option<String>,
    /// The image it had in its target before.
    pub old_image: Option<String>,
    /// The target version that gave it the new image.
    pub target_version: Option<i64>,
    /// The image it is put back on.
    pub rollback_image: Option<String>,
    /// The target version that puts it back.
    pub rollback_version: Option<i64>,
    /// What the verdict rests on.
    pub evidence: Option<serde_json::Value>,
    /// How often it was admitted again after a failure that was not the image's.
    #[serde(default)]
    pub retries: i64,
    /// When it may be admitted again.
    #[serde(default)]
    pub retry_at: Option<DateTime<Utc>>,
    /// When it was admitted.
    pub admitted_at: Option<DateTime<Utc>>,
    /// Until when it must be healthy or back.
    pub deadline_at: Option<DateTime<Utc>>,
    /// When it was judged.
    pub judged_at: Option<DateTime<Utc>>,
    /// When it was last moved.
    pub updated_at: DateTime<Utc>,
}

text_enum! {
    /// What became of a check.
    CheckStatus {
        /// Not decided yet.
        Pending = "pending",
        /// Passed.
        Passed = "passed",
        /// Failed: as many tries in a row as it takes.
        Failed = "failed",
        /// Its time is over without a yes or a no, or it cannot be run at all.
        Inconclusive = "inconclusive",
    }
}

/// A check of a batch as a whole: between the batch's end and the next batch's start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateCheck {
    /// The batch, from 1.
    pub batch: i64,
    /// Its place in the list of the batch's gate checks, from 0.
    pub position: i64,
    /// Its name.
    pub name: String,
    /// What became of it.
    pub status: CheckStatus,
    /// What that rests on.
    #[schema(value_type = Object)]
    pub evidence: serde_json::Value,
    /// When it was tried last.
    pub checked_at: Option<DateTime<Utc>>,
    /// Until when it must have passed.
    pub deadline_at: DateTime<Utc>,
    /// Who resumed the rollout although it had failed or was inconclusive: it counts as passed.
    #[serde(default)]
    pub waived_by: Option<String>,
}

/// An approval of a rollout (as a whole: batch 1) or of one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// The batch that may begin by it, from 1.
    pub batch: i64,
    /// Who approved.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub approved_at: DateTime<Utc>,
}
