//! Operators' orders to put a device or a whole rollout back.

use crate::NAME;
use crate::each::Trouble;
use crate::put_back::{Done, Why, put_back_group};
use serde_json::json;
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::rollbacks::{self, Scope};
use windlass_store::{Result, Session, commands as orders, events, rollouts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::{
    Command, CommandKind, CommandOutcome, DeviceStatus, Rollout, RolloutStatus, SkipReason,
    StatusReason,
};

/// Carries out what is ordered, one rollout a transaction.
///
/// # Errors
/// Whatever the store says; orders carried out before stay so.
pub async fn run(deps: &Deps, _group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let rollouts = rollbacks::rollouts_with_commands(&mut read).await?;
    drop(read);
    let mut trouble = Trouble::default();
    for id in rollouts {
        trouble.note(id, of_rollout(deps, id).await);
    }
    trouble.end(Next::Idle)
}

async fn of_rollout(deps: &Deps, id: RolloutId) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let Some(mut rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(());
    };
    // Read under the lock: another replica may have been here.
    for command in orders::pending(&mut tx, id).await? {
        let (outcome, detail) = match (command.kind, command.device_uuid) {
            (CommandKind::RollbackAll, _) => {
                let Some(outcome) = take_back(&mut tx, &mut rollout, &command).await? else {
                    return tx.rollback().await;
                };
                outcome
            }
            (CommandKind::RollbackDevice, Some(device)) => {
                // Overtaken: it is tried again.
                let Some(outcome) = one_device(&mut tx, &rollout, device).await? else {
                    continue;
                };
                outcome
            }
            // The planner's.
            (
                CommandKind::Pause
                | CommandKind::Resume
                | CommandKind::Cancel
                | CommandKind::Approve
                | CommandKind::NextBatch
                | CommandKind::Retry
                | CommandKind::OverrideFreeze
                | CommandKind::RollbackBatch
                | CommandKind::RollbackDevice,
                _,
            ) => continue,
        };
        orders::settle(&mut tx, command.id, outcome, detail, NAME).await?;
    }
    deps.commit(tx).await
}

type Outcome = (CommandOutcome, Option<&'static str>);

/// Begins to take a rollout back, wherever it stands: also one that was completed, for faults that
/// show late. None where the rollout was changed meanwhile.
async fn take_back(
    tx: &mut Session,
    rollout: &mut Rollout,
    command: &Command,
) -> Result<Option<Outcome>> {
    if matches!(
        rollout.status,
        RolloutStatus::RollingBack | RolloutStatus::RolledBack
    ) {
        return Ok(Some((CommandOutcome::NoChange, None)));
    }
    let was = rollout.status;
    rollout.status = RolloutStatus::RollingBack;
    rollout.status_reason = Some(StatusReason::Operator);
    rollout.status_detail = Some(command.reason.clone());
    rollout.next_batch_at = None;
    rollout.finished_at = None;
    if !rollouts::save(tx, rollout).await? {
        return Ok(None);
    }
    rollout.version += 1;
    rollouts::skip_pending(tx, rollout.id, SkipReason::RolloutEnded).await?;
    let event = NewEvent::new(EventType::RollbackStarted, command.actor.clone())
        .rollout(rollout.id, rollout.correlation_id)
        .data(json!({"was": was, "reason": command.reason}))
        .stands(rollout);
    events::append(tx, event).await?;
    Ok(Some((CommandOutcome::Applied, None)))
}

/// Puts one device back. None where something else changed its target meanwhile.
async fn one_device(
    tx: &mut Session,
    rollout: &Rollout,
    device: DeviceId,
) -> Result<Option<Outcome>> {
    let rows = rollbacks::candidates(tx, rollout.id, Scope::Device(device), 1).await?;
    if rows.is_empty() {
        return Ok(Some(
            match rollbacks::status_of(tx, rollout.id, device).await? {
                Some(DeviceStatus::RollingBack | DeviceStatus::RolledBack) => {
                    (CommandOutcome::NoChange, None)
                }
                Some(_) => (
                    CommandOutcome::Refused,
                    Some("the device does not have this rollout's image"),
                ),
                None => (
                    CommandOutcome::Refused,
                    Some("the device is not in this rollout"),
                ),
            },
        ));
    }
    let done = put_back_group(tx, rollout, rows, Why::Operator).await?;
    Ok(Some(match done {
        Done { settled: 0, .. } => return Ok(None),
        Done { put_back: 1, .. } => (CommandOutcome::Applied, None),
        Done { stuck: 1, .. } => (
            CommandOutcome::Refused,
            Some("nothing that the device could go back to is known to be good"),
        ),
        Done { .. } => (
            CommandOutcome::Refused,
            Some("the device's target was changed since"),
        ),
    }))
}
