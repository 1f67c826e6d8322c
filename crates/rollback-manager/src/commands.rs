//! Operators' orders to put a device or a whole rollout back.

use crate::NAME;
use crate::back::{self, Asked};
use crate::each::Trouble;
use crate::outcome::Ends;
use crate::put_back::{Done, Why, put_back_group};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::rollbacks::{self, Presence, Scope};
use windlass_store::{Result, Session, commands as orders, rollouts};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::{
    Command, CommandKind, CommandOutcome, DeviceStatus, Rollout, RolloutStatus, StatusReason,
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
    let mut ends = Ends::default();
    // Read under the lock: another replica may have been here.
    for command in orders::pending(&mut tx, id).await? {
        let (outcome, detail) = match (command.kind, command.device_uuid) {
            (CommandKind::RollbackBatch, _) => {
                let Some(outcome) = one_batch(&mut tx, &mut rollout, &command).await? else {
                    return tx.rollback().await;
                };
                outcome
            }
            (CommandKind::RollbackAll, _) => {
                let Some(outcome) = take_back(&mut tx, &mut rollout, &command).await? else {
                    return tx.rollback().await;
                };
                outcome
            }
            (CommandKind::RollbackDevice, Some(device)) => {
                // Overtaken: it is tried again.
                let Some(outcome) = one_device(&mut tx, &rollout, device, &mut ends).await? else {
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
                | CommandKind::RollbackDevice,
                _,
            ) => continue,
        };
        orders::settle(&mut tx, command.id, outcome, detail, NAME).await?;
    }
    deps.commit(tx).await?;
    ends.tell();
    Ok(())
}

type Outcome = (CommandOutcome, Option<&'static str>);

const fn asked(command: &Command) -> Asked<'_> {
    Asked {
        actor: command.actor.as_str(),
        reason: StatusReason::Operator,
        detail: command.reason.as_str(),
    }
}

const fn is_taken_back(rollout: &Rollout) -> bool {
    matches!(
        rollout.status,
        RolloutStatus::RollingBack | RolloutStatus::RolledBack
    )
}

/// Takes the whole rollout back. None where it was changed meanwhile.
async fn take_back(
    tx: &mut Session,
    rollout: &mut Rollout,
    command: &Command,
) -> Result<Option<Outcome>> {
    if is_taken_back(rollout) {
        return Ok(Some((CommandOutcome::NoChange, None)));
    }
    let begun = back::whole(tx, rollout, &asked(command)).await?;
    Ok(begun.then_some((CommandOutcome::Applied, None)))
}

/// Takes one batch back. None where the rollout was changed meanwhile.
async fn one_batch(
    tx: &mut Session,
    rollout: &mut Rollout,
    command: &Command,
) -> Result<Option<Outcome>> {
    let batch = command.batch.unwrap_or(rollout.current_batch);
    if is_taken_back(rollout) {
        return Ok(Some((CommandOutcome::NoChange, None)));
    }
    if batch < 1 || batch > rollout.batch_count {
        return Ok(Some((
            CommandOutcome::Refused,
            Some("the rollout has no such batch"),
        )));
    }
    Ok(back::batch(tx, rollout, batch, &asked(command))
        .await?
        .map(|devices| match devices {
            0 => (
                CommandOutcome::NoChange,
                Some("no device of the batch has this rollout's image"),
            ),
            _ => (CommandOutcome::Applied, None),
        }))
}

/// Puts one device back. None where something else changed its target meanwhile.
async fn one_device(
    tx: &mut Session,
    rollout: &Rollout,
    device: DeviceId,
    ends: &mut Ends,
) -> Result<Option<Outcome>> {
    let scope = Scope::Device(device);
    let found = rollbacks::candidates(tx, rollout.id, scope, Presence::Any, 1).await?;
    if found.is_empty() {
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
    let done = put_back_group(tx, rollout, found, Why::Operator, ends).await?;
    Ok(Some(match done {
        Done { settled: 0, .. } => return Ok(None),
        Done { put_back: 1, .. } => (CommandOutcome::Applied, None),
        Done { unreadable: 1, .. } => (
            CommandOutcome::Refused,
            Some("what is stored of the device cannot be read"),
        ),
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
