//! What has neither ended nor waits for a person, once faults have stopped.

use crate::broken::Held;
use crate::world::World;
use uuid::Uuid;
use windlass_core::plan::{Input, plan};
use windlass_store::rollouts;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::{DeviceStatus, RolloutStatus};

/// Rollout, device, its status and the reason for it.
type Row = (Uuid, Uuid, String, Option<String>);

/// All of it. A paused rollout and one that waits for approval wait for a person; a device that could
/// not be put back does, too, and is told of as such.
///
/// # Errors
/// Where the store cannot be read.
pub(crate) async fn open(world: &World) -> Held<Vec<String>> {
    let mut left = Vec::new();
    for rollout in world.ledger.rollouts.values() {
        let waits = matches!(
            rollout.status,
            RolloutStatus::Paused | RolloutStatus::AwaitingApproval
        );
        if !rollout.status.is_final() && !waits {
            left.push(format!(
                "rollout {} is {} at batch {} of {}",
                rollout.id, rollout.status, rollout.current_batch, rollout.batch_count
            ));
        }
    }
    for ((rollout, device), row) in &world.ledger.rows {
        if row.status.is_in_flight() || row.status == DeviceStatus::RollingBack {
            left.push(format!("{device} is {} in {rollout}", row.status));
        }
    }
    // What else there may be is only asked once nothing is under way.
    if left.is_empty() {
        left.extend(undone(world).await?);
    }
    Ok(left)
}

/// Devices that are to go back and do not, that wait in a rollout which has ended, or that a rollout
/// taken back has left with its image.
async fn undone(world: &World) -> Held<Vec<String>> {
    let mut read = world.store.read().await?;
    let waiting: Vec<Row> = read
        .sql(
            "SELECT d.rollout_id, d.device_uuid, d.status, d.rollback_why \
             FROM device_rollout_status d JOIN image_rollouts r ON r.id = d.rollout_id \
             WHERE (d.status = 'failed' AND d.check_at IS NOT NULL) OR d.rollback_why IS NOT NULL \
             OR (d.status = 'pending' AND r.finished_at IS NOT NULL) ORDER BY 1, 2",
        )
        .all()
        .await?;
    let taken_back: Vec<Row> = read
        .sql(
            "SELECT d.rollout_id, d.device_uuid, d.status, d.reason \
             FROM device_rollout_status d JOIN image_rollouts r ON r.id = d.rollout_id \
             WHERE r.status = 'rolled_back' AND d.status <> 'rollback_failed' \
             AND COALESCE(d.reason, '') <> 'target_changed' ORDER BY 1, 2",
        )
        .all()
        .await?;
    let mut left: Vec<String> = waiting
        .into_iter()
        .map(|(rollout, device, status, why)| {
            format!("{device} is {status} in {rollout} and waits to go back ({why:?})")
        })
        .collect();
    for (rollout, device, status, reason) in taken_back {
        if world.ledger.has_from(DeviceId(device), RolloutId(rollout)) {
            left.push(format!(
                "{device} is {status} ({reason:?}) in {rollout}, which was taken back, with its image"
            ));
        }
    }
    Ok(left)
}

/// What rollouts that have not ended wait for, as the core has it: for whoever reads of a failure.
///
/// # Errors
/// Where the store cannot be read.
pub(crate) async fn waits(world: &World) -> Held<Vec<String>> {
    let mut read = world.store.read().await?;
    let mut told = Vec::new();
    for id in rollouts::active(&mut read).await? {
        let now = read.now();
        let wait = rollouts::facts(&mut read, id)
            .await?
            .and_then(|facts| plan(&Input { facts: &facts, now }).waits_for);
        if let Some(wait) = wait {
            told.push(format!("{id} waits for {wait}"));
        }
    }
    Ok(told)
}
