//! Devices that come into the scope of a rollout after it was made, or leave it.

use crate::NAME;
use serde_json::json;
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::rollouts::{self, Changed};
use windlass_store::{Result, Session, events};
use windlass_types::event::{Cursor, EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::image::ImageReference;
use windlass_types::rollout::Rollout;

/// Whose place in the log it is.
const CONSUMER: &str = "rollout-planner-members";

/// Devices of one statement at most.
const CHUNK: usize = 500;

/// Brings the members of all active rollouts up to what the log says of devices. Done again, it changes
/// nothing: so the place in the log is moved on last, and a crash before that costs time alone.
pub async fn run(deps: &Deps) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let from = events::cursor(&mut read, CONSUMER).await?;
    let first = from == Cursor::default();
    let changed = if first {
        // What happened before is seen by looking at everything once.
        Changed {
            upto: events::head(&mut read).await?,
            made: rollouts::active(&mut read).await?.into_iter().collect(),
            ..Changed::default()
        }
    } else {
        rollouts::changed_since(&mut read, from).await?
    };
    if changed.upto == from {
        return Ok(Next::Idle);
    }
    let active = if changed.devices.is_empty() && changed.made.is_empty() {
        Vec::new()
    } else {
        rollouts::active(&mut read).await?
    };
    drop(read);
    let devices: Vec<DeviceId> = changed.devices.iter().copied().collect();
    for id in active {
        if changed.made.contains(&id) {
            follow(deps, id, None).await?;
            continue;
        }
        for chunk in devices.chunks(CHUNK) {
            follow(deps, id, Some(chunk)).await?;
        }
    }
    let mut tx = deps.store.begin().await?;
    // Of two replicas that did the same, one moves on.
    if events::advance(&mut tx, CONSUMER, from, changed.upto).await? {
        deps.commit(tx).await?;
    } else {
        tx.rollback().await?;
    }
    Ok(if changed.more {
        Next::Again
    } else {
        Next::Idle
    })
}

async fn follow(deps: &Deps, id: RolloutId, only: Option<&[DeviceId]>) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let Some(rollout) = rollouts::lock(&mut tx, id).await? else {
        return tx.rollback().await;
    };
    if rollout.status.is_final() {
        return tx.rollback().await;
    }
    if tell(&mut tx, &rollout, only).await? == 0 {
        return tx.rollback().await;
    }
    deps.commit(tx).await
}

/// Lets devices in and out, and tells of each. Returns how many there were.
async fn tell(tx: &mut Session, rollout: &Rollout, only: Option<&[DeviceId]>) -> Result<usize> {
    let (joined, left, failed) = rollouts::follow(tx, rollout, only, NAME).await?;
    let image = ImageReference::of(
        &rollout.repository,
        rollout.tag.as_deref(),
        rollout.digest.as_ref(),
    );
    let event = |kind, device| {
        NewEvent::new(kind, NAME)
            .rollout(rollout.id, rollout.correlation_id)
            .subject(&image)
            .device(device)
    };
    let mut told: Vec<NewEvent> = Vec::with_capacity(joined.len() + left.len());
    told.extend(left.iter().map(|left| {
        let data = json!({"image": image, "batch": left.batch, "reason": left.reason});
        event(EventType::DeviceSkipped, left.device).data(data)
    }));
    told.extend(joined.iter().map(|joined| {
        let data = json!({"image": image, "batch": joined.batch});
        event(EventType::DeviceJoined, joined.device).data(data)
    }));
    let members = told.len() + failed;
    events::append_all(tx, told).await?;
    if members > 0 {
        tracing::info!(
            rollout.id = %rollout.id,
            joined = joined.len(),
            left = left.len(),
            "devices joined or left a rollout"
        );
    }
    Ok(members)
}
