//! The steps of a rollout, and what each does to it.

use chrono::{DateTime, Utc};
use windlass_types::ids::DeviceId;
use windlass_types::rollout::{Rollout, RolloutStatus, StatusReason};

/// A step of a rollout, named by what it does to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// It has not begun and waits for something else than its status says: an approval, its time, or
    /// neither of them any more.
    Waiting {
        /// [`RolloutStatus::AwaitingApproval`], [`RolloutStatus::Scheduled`] or [`RolloutStatus::Pending`].
        status: RolloutStatus,
    },
    /// A person approved a batch (the rollout as a whole: batch 1). It may still need a second one.
    Approved {
        /// The batch, from 1.
        batch: i64,
        /// Who.
        actor: String,
        /// Why, in their words.
        reason: String,
    },
    /// The next batch is opened: its devices may be admitted. An [`Edge::Admitted`] follows unless the
    /// batch has nobody left to admit.
    BatchStarted {
        /// The batch, from 1.
        batch: i64,
    },
    /// Devices get their targets, by the order of the rollout: pending ones of this batch and of those
    /// before it (they are tried again) whose retry is due. Where the batch had ended, because they
    /// joined or came to be tried again after that, it is open again.
    Admitted {
        /// The batch, from 1.
        batch: i64,
        /// How many at most; fewer where a limit by tag holds some back.
        at_most: i64,
        /// Only devices of these time zones (none: those without one); all where not given.
        time_zones: Option<Vec<Option<String>>>,
    },
    /// Every reachable device of the present batch is done.
    BatchCompleted {
        /// The batch, from 1.
        batch: i64,
        /// When the next one may start; for the last batch, now.
        next_batch_at: DateTime<Utc>,
    },
    /// An operator cut the delay before the next batch short. Its other gates stay.
    DelayCut {
        /// The next batch, from 1.
        batch: i64,
    },
    /// Devices that failed, were inconclusive or were put back become pending again: this one, all of
    /// one batch, or all up to the present batch. Their verdicts no longer count. The present batch is
    /// open again.
    Retried {
        /// The device, where it is about one.
        device: Option<DeviceId>,
        /// The batch, where it is about one, from 1.
        batch: Option<i64>,
    },
    /// It goes on in spite of the freezes there are.
    FreezeOverridden {
        /// Who, and why.
        detail: String,
        /// When it was ordered: freezes made since are none of those that the person knew of.
        at: DateTime<Utc>,
    },
    /// The comparison of two versions went against the new one: a rollback of all is to be ordered (a
    /// command `rollback_all`), which the rollback-manager carries out.
    RollbackOrdered {
        /// Why.
        detail: String,
    },
    /// All batches are done.
    Completed,
    /// All batches are done, somebody failed and nobody is healthy.
    Failed {
        /// How many, for people.
        detail: String,
    },
    /// It admits nobody until it is resumed.
    Paused {
        /// Why.
        reason: StatusReason,
        /// The same for people.
        detail: String,
    },
    /// It goes on. Its failures up to now no longer count against its budget.
    Resumed {
        /// Who let it go on.
        actor: String,
        /// The batch whose failed and inconclusive gate checks count as passed by that
        /// (`rollout_checks.waived_by`); none where it has no such checks.
        waives: Option<i64>,
    },
    /// An operator ended it.
    Cancelled {
        /// Why, in the operator's words.
        detail: String,
    },
}

impl Edge {
    /// Its name, for metrics and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Approved { .. } => "approved",
            Self::BatchStarted { .. } => "batch_started",
            Self::Admitted { .. } => "admitted",
            Self::BatchCompleted { .. } => "batch_completed",
            Self::DelayCut { .. } => "delay_cut",
            Self::Retried { .. } => "retried",
            Self::FreezeOverridden { .. } => "freeze_overridden",
            Self::RollbackOrdered { .. } => "rollback_ordered",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Whether an operator's command leads to it. Each command that is applied leads to exactly one
    /// such edge, in the order of the commands.
    #[must_use]
    pub const fn is_ordered(&self) -> bool {
        match self {
            Self::Approved { .. }
            | Self::DelayCut { .. }
            | Self::Retried { .. }
            | Self::FreezeOverridden { .. }
            | Self::Resumed { .. }
            | Self::Cancelled { .. } => true,
            Self::Paused { reason, .. } => matches!(reason, StatusReason::Operator),
            Self::Waiting { .. }
            | Self::BatchStarted { .. }
            | Self::Admitted { .. }
            | Self::BatchCompleted { .. }
            | Self::RollbackOrdered { .. }
            | Self::Completed
            | Self::Failed { .. } => false,
        }
    }
}

/// What an edge does to a rollout's own row.
pub(super) fn apply(rollout: &mut Rollout, edge: &Edge, now: DateTime<Utc>) {
    match edge {
        Edge::Waiting { status } => rollout.status = *status,
        Edge::BatchStarted { batch } => {
            rollout.status = RolloutStatus::InProgress;
            rollout.current_batch = *batch;
            rollout.next_batch_at = None;
            rollout.started_at = rollout.started_at.or(Some(now));
        }
        Edge::Approved { .. } | Edge::RollbackOrdered { .. } => {}
        Edge::Admitted { .. } => rollout.next_batch_at = None,
        Edge::BatchCompleted { next_batch_at, .. } => rollout.next_batch_at = Some(*next_batch_at),
        Edge::DelayCut { .. } => rollout.next_batch_at = Some(now),
        Edge::Retried { .. } => rollout.next_batch_at = None,
        Edge::FreezeOverridden { detail, at } => {
            rollout.freeze_override = Some(detail.clone());
            rollout.freeze_override_at = rollout.freeze_override_at.max(Some(*at));
        }
        Edge::Completed => end(rollout, RolloutStatus::Completed, now),
        Edge::Failed { detail } => {
            end(rollout, RolloutStatus::Failed, now);
            rollout.status_detail = Some(detail.clone());
        }
        Edge::Paused { reason, detail } => {
            rollout.status = RolloutStatus::Paused;
            rollout.status_reason = Some(*reason);
            rollout.status_detail = Some(detail.clone());
        }
        Edge::Resumed { .. } => {
            rollout.status = if rollout.current_batch == 0 {
                RolloutStatus::Pending
            } else {
                RolloutStatus::InProgress
            };
            rollout.status_reason = None;
            rollout.status_detail = None;
        }
        Edge::Cancelled { detail } => {
            end(rollout, RolloutStatus::Cancelled, now);
            rollout.status_reason = Some(StatusReason::Operator);
            rollout.status_detail = Some(detail.clone());
        }
    }
}

pub(super) fn end(rollout: &mut Rollout, status: RolloutStatus, now: DateTime<Utc>) {
    rollout.status = status;
    rollout.next_batch_at = None;
    rollout.finished_at = Some(now);
}
