//! What an operator's command does to a rollout.

use super::Edge;
use windlass_types::rollout::{
    Command, CommandKind, CommandOutcome, Rollout, RolloutStatus, StatusReason,
};

type Decided = (CommandOutcome, Option<String>, Option<Edge>);

/// What becomes of a command; none for those that are not the planner's. Commands mean a state, not
/// a change: pausing what is paused is nothing to do, not a fault.
pub(super) fn decide(command: &Command, rollout: &Rollout, quarantined: bool) -> Option<Decided> {
    Some(match command.kind {
        CommandKind::Pause => pause(command, rollout),
        CommandKind::Resume => resume(rollout, quarantined),
        CommandKind::Cancel => cancel(command, rollout),
        CommandKind::Approve => approve(rollout),
        CommandKind::NextBatch | CommandKind::Retry | CommandKind::OverrideFreeze => {
            refused("this command is not offered yet")
        }
        CommandKind::RollbackAll | CommandKind::RollbackBatch | CommandKind::RollbackDevice => {
            return None;
        }
    })
}

fn pause(command: &Command, rollout: &Rollout) -> Decided {
    match rollout.status {
        RolloutStatus::Pending | RolloutStatus::InProgress => applied(Edge::Paused {
            reason: StatusReason::Operator,
            detail: command.reason.clone(),
        }),
        RolloutStatus::Paused => no_change("it is paused already"),
        RolloutStatus::AwaitingApproval => {
            no_change("it has not begun and waits for approval; cancel it to end it")
        }
        RolloutStatus::Scheduled => {
            no_change("it has not begun and waits for its time; cancel it to end it")
        }
        RolloutStatus::RollingBack => refused("it is being rolled back"),
        RolloutStatus::Completed
        | RolloutStatus::Failed
        | RolloutStatus::Cancelled
        | RolloutStatus::Superseded
        | RolloutStatus::RolledBack => ended(rollout),
    }
}

fn resume(rollout: &Rollout, quarantined: bool) -> Decided {
    match rollout.status {
        RolloutStatus::Paused if quarantined => {
            let digest = rollout
                .digest
                .as_ref()
                .map_or("its digest", |digest| digest.as_str());
            refused(&format!("{digest} is in quarantine; lift that first"))
        }
        RolloutStatus::Paused => applied(Edge::Resumed),
        RolloutStatus::Pending | RolloutStatus::InProgress => no_change("it is not paused"),
        RolloutStatus::AwaitingApproval => refused("it waits for approval, not to be resumed"),
        RolloutStatus::Scheduled => refused("it waits for its time, not to be resumed"),
        RolloutStatus::RollingBack => refused("it is being rolled back"),
        RolloutStatus::Completed
        | RolloutStatus::Failed
        | RolloutStatus::Cancelled
        | RolloutStatus::Superseded
        | RolloutStatus::RolledBack => ended(rollout),
    }
}

fn cancel(command: &Command, rollout: &Rollout) -> Decided {
    match rollout.status {
        RolloutStatus::Pending
        | RolloutStatus::AwaitingApproval
        | RolloutStatus::Scheduled
        | RolloutStatus::InProgress
        | RolloutStatus::Paused => applied(Edge::Cancelled {
            detail: command.reason.clone(),
        }),
        RolloutStatus::Cancelled => no_change("it is cancelled already"),
        RolloutStatus::RollingBack => refused("it is being rolled back"),
        RolloutStatus::Completed
        | RolloutStatus::Failed
        | RolloutStatus::Superseded
        | RolloutStatus::RolledBack => ended(rollout),
    }
}

fn approve(rollout: &Rollout) -> Decided {
    match rollout.status {
        RolloutStatus::AwaitingApproval => applied(Edge::Approved),
        RolloutStatus::Pending
        | RolloutStatus::Scheduled
        | RolloutStatus::InProgress
        | RolloutStatus::Paused => no_change("it needs no approval"),
        RolloutStatus::RollingBack => refused("it is being rolled back"),
        RolloutStatus::Completed
        | RolloutStatus::Failed
        | RolloutStatus::Cancelled
        | RolloutStatus::Superseded
        | RolloutStatus::RolledBack => ended(rollout),
    }
}

fn applied(edge: Edge) -> Decided {
    (CommandOutcome::Applied, None, Some(edge))
}

fn no_change(detail: &str) -> Decided {
    (CommandOutcome::NoChange, Some(detail.to_owned()), None)
}

fn refused(detail: &str) -> Decided {
    (CommandOutcome::Refused, Some(detail.to_owned()), None)
}

fn ended(rollout: &Rollout) -> Decided {
    refused(&format!("it has ended: {}", rollout.status))
}
