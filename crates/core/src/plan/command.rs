//! What an operator's command does to a rollout.

use super::{Edge, Work};
use windlass_types::rollout::{Command, CommandKind, CommandOutcome, RolloutStatus, StatusReason};

type Decided = (CommandOutcome, Option<String>, Option<Edge>);

/// What becomes of a command; none for those that are not the planner's. Commands mean a state, not
/// a change: pausing what is paused is nothing to do, not a fault.
pub(super) fn decide(command: &Command, work: &Work<'_>) -> Option<Decided> {
    let does = match command.kind {
        CommandKind::Pause => pause,
        CommandKind::Resume => resume,
        CommandKind::Cancel => cancel,
        CommandKind::Approve => approve,
        CommandKind::NextBatch => next_batch,
        CommandKind::Retry => retry,
        CommandKind::OverrideFreeze => override_freeze,
        CommandKind::RollbackAll | CommandKind::RollbackBatch | CommandKind::RollbackDevice => {
            return None;
        }
    };
    Some(match work.rollout.status {
        RolloutStatus::Cancelled if command.kind == CommandKind::Cancel => {
            no_change("it is cancelled already")
        }
        RolloutStatus::Completed
        | RolloutStatus::Failed
        | RolloutStatus::Cancelled
        | RolloutStatus::Superseded
        | RolloutStatus::RolledBack => refused(format!("it has ended: {}", work.rollout.status)),
        RolloutStatus::RollingBack => refused("it is being rolled back"),
        RolloutStatus::Pending => does(command, work, Stage::NotBegun),
        RolloutStatus::AwaitingApproval => does(command, work, Stage::NotBegun),
        RolloutStatus::Scheduled => does(command, work, Stage::NotBegun),
        RolloutStatus::InProgress => does(command, work, Stage::Running),
        RolloutStatus::Paused => does(command, work, Stage::Paused),
    })
}

/// How far a rollout is that has neither ended nor is being rolled back.
#[derive(Clone, Copy)]
enum Stage {
    NotBegun,
    Running,
    Paused,
}

fn pause(command: &Command, _: &Work<'_>, stage: Stage) -> Decided {
    match stage {
        Stage::Paused => no_change("it is paused already"),
        Stage::NotBegun | Stage::Running => applied(Edge::Paused {
            reason: StatusReason::Operator,
            detail: command.reason.clone(),
        }),
    }
}

fn resume(command: &Command, work: &Work<'_>, stage: Stage) -> Decided {
    match stage {
        Stage::Paused if work.facts.quarantined => {
            let digest = work.rollout.digest.as_ref();
            let digest = digest.map_or("its digest", |digest| digest.as_str());
            refused(format!("{digest} is in quarantine; lift that first"))
        }
        Stage::Paused if work.facts.unsigned.is_some() => refused(format!(
            "its policy wants a signature: {}; sign the image or change the policy first",
            work.facts.unsigned.as_deref().unwrap_or_default()
        )),
        Stage::Paused => applied(Edge::Resumed {
            actor: command.actor.clone(),
            waives: work
                .has_checks_against()
                .then_some(work.rollout.current_batch),
        }),
        Stage::NotBegun | Stage::Running => no_change("it is not paused"),
    }
}

fn cancel(command: &Command, _: &Work<'_>, _: Stage) -> Decided {
    applied(Edge::Cancelled {
        detail: command.reason.clone(),
    })
}

/// Without a batch it means the one whose turn it is: a second press after the first has let batch 1
/// begin must not approve batch 2 unseen.
fn approve(command: &Command, work: &Work<'_>, _: Stage) -> Decided {
    let current = work.rollout.current_batch;
    let turn = current == 0 || work.rollout.next_batch_at.is_some();
    let batch = match command.batch {
        Some(batch) => batch,
        None if turn && current < work.rollout.batch_count => current + 1,
        None => {
            return no_change(format!(
                "nothing waits for approval: batch {current} is on its way; name a batch to approve it ahead"
            ));
        }
    };
    if batch < 1 || batch > work.rollout.batch_count {
        let batches = work.rollout.batch_count;
        return refused(format!("there is no batch {batch}: it has {batches}"));
    }
    if batch <= current {
        return no_change(format!("batch {batch} has begun already"));
    }
    let Some((_, need)) = work.approval_of(batch) else {
        return no_change(format!("batch {batch} needs no approval"));
    };
    let have = work.approved_by(batch);
    if have.len() >= need {
        return no_change(format!("batch {batch} is approved already"));
    }
    if have.contains(command.actor.as_str()) {
        return no_change(format!(
            "{} has approved batch {batch} already; another person must, too",
            command.actor
        ));
    }
    applied(Edge::Approved {
        batch,
        actor: command.actor.clone(),
        reason: command.reason.clone(),
    })
}

fn next_batch(_: &Command, work: &Work<'_>, stage: Stage) -> Decided {
    let batch = work.rollout.current_batch;
    match (stage, work.rollout.next_batch_at) {
        (Stage::NotBegun, _) => refused("it has not begun: there is no delay to cut short"),
        (Stage::Paused, _) => refused("it is paused; resume it first"),
        (Stage::Running, _) if batch >= work.rollout.batch_count => {
            refused(format!("batch {batch} is the last one"))
        }
        (Stage::Running, None) => refused(format!("batch {batch} is not done")),
        (Stage::Running, Some(at)) if work.now < at => applied(Edge::DelayCut { batch: batch + 1 }),
        (Stage::Running, Some(_)) => no_change(format!(
            "the delay before batch {} is over already",
            batch + 1
        )),
    }
}

fn retry(command: &Command, work: &Work<'_>, stage: Stage) -> Decided {
    let current = work.rollout.current_batch;
    match stage {
        Stage::NotBegun => return no_change("nobody has been admitted yet"),
        Stage::Running | Stage::Paused if work.facts.quarantined => {
            return refused("its digest is in quarantine; lift that first");
        }
        Stage::Running | Stage::Paused => {}
    }
    if let Some(batch) = command.batch.filter(|batch| *batch > current) {
        return refused(format!("batch {batch} has not begun"));
    }
    let concerned = work
        .batches
        .iter()
        .filter(|p| p.batch <= current && command.batch.is_none_or(|batch| batch == p.batch));
    let devices = concerned.fold(0, |sum: i64, p| {
        let again = p.failed + p.inconclusive + p.unreachable + p.rolled_back + p.rollback_failed;
        sum.saturating_add(again)
    });
    if devices == 0 {
        return no_change("no device has failed, was inconclusive or was put back");
    }
    applied(Edge::Retried {
        device: command.device_uuid,
        batch: command.batch,
    })
}

fn override_freeze(command: &Command, work: &Work<'_>, _: Stage) -> Decided {
    if !work
        .freezes()
        .any(|freeze| freeze.created_at <= command.created_at)
    {
        return no_change("no freeze held it when that was ordered");
    }
    applied(Edge::FreezeOverridden {
        detail: format!("{}: {}", command.actor, command.reason),
        at: command.created_at,
    })
}

fn applied(edge: Edge) -> Decided {
    (CommandOutcome::Applied, None, Some(edge))
}

fn no_change(detail: impl Into<String>) -> Decided {
    (CommandOutcome::NoChange, Some(detail.into()), None)
}

fn refused(detail: impl Into<String>) -> Decided {
    (CommandOutcome::Refused, Some(detail.into()), None)
}
