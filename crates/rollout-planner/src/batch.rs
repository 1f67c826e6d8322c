//! Admitting a batch.

use crate::NAME;
use chrono::TimeDelta;
use serde_json::json;
use std::collections::BTreeMap;
use windlass_core::{probes, target};
use windlass_store::rollouts::{self, Admission, Move};
use windlass_store::{Result, Session, events, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::StateId;
use windlass_types::image::ImageReference;
use windlass_types::policy::Check;
use windlass_types::rollout::{BatchProgress, Rollout, SkipReason};
use windlass_types::target::TargetState;

/// Tells that a batch is open. The rollout is locked and saved.
pub(crate) async fn open(
    tx: &mut Session,
    rollout: &Rollout,
    batch: i64,
    batches: &[BatchProgress],
    image: &ImageReference,
) -> Result<()> {
    let event = |kind| {
        NewEvent::new(kind, NAME)
            .rollout(rollout.id, rollout.correlation_id)
            .subject(image)
    };
    let mut told = Vec::new();
    if batch == 1 {
        told.push(event(EventType::RolloutStarted).data(json!({
            "image": image,
            "devices": rollout.total_devices,
            "batches": rollout.batch_count,
        })));
    }
    let devices = batches
        .iter()
        .find(|p| p.batch == batch)
        .map_or(0, |p| p.pending);
    told.push(event(EventType::RolloutBatchStarted).data(json!({
        "image": image,
        "batch": batch,
        "batches": rollout.batch_count,
        "devices": devices,
    })));
    let told = told
        .into_iter()
        .map(|event| event.stands(rollout))
        .collect();
    events::append_all(tx, told).await?;
    Ok(())
}

/// Gives the devices of an open batch their new targets. The rollout is locked and saved. Returns how
/// many were admitted.
pub(crate) async fn admit(
    tx: &mut Session,
    rollout: &Rollout,
    batch: i64,
    image: &ImageReference,
) -> Result<u64> {
    let now = tx.now();
    let event = |kind| {
        NewEvent::new(kind, NAME)
            .rollout(rollout.id, rollout.correlation_id)
            .subject(image)
    };
    let left_out = event(EventType::DeviceSkipped).data(json!({"image": image, "batch": batch}));
    let (skipped, states) = rollouts::lock_batch(tx, rollout, batch, &left_out).await?;
    let bodies = targets::states(tx, &states).await?;
    let health = rollout.rule.health_of(batch);
    let (moves, made) = moves(rollout, &health.checks, &bodies);
    targets::ensure_states(tx, &made).await?;
    let seconds = |seconds: u32| TimeDelta::seconds(i64::from(seconds));
    let first_look = health
        .unreachable_after_seconds
        .min(health.deadline_seconds);
    let admission = Admission {
        batch,
        moves,
        check_at: now + seconds(first_look),
        deadline_at: now + seconds(health.deadline_seconds),
        event: event(EventType::ImageUpdateScheduled).data(json!({
            "image": image,
            "batch": batch,
        })),
        skipped: left_out,
    };
    let done = rollouts::admit(tx, rollout, &admission).await?;
    if done.skipped + skipped > 0 {
        tracing::info!(
            rollout.id = %rollout.id,
            batch,
            devices = done.skipped + skipped,
            "devices were left out: see their events"
        );
    }
    Ok(done.scheduled)
}

/// What becomes of devices with these states, and the states that are needed for it.
fn moves(
    rollout: &Rollout,
    checks: &[Check],
    bodies: &BTreeMap<StateId, TargetState>,
) -> (Vec<(StateId, Move)>, BTreeMap<StateId, TargetState>) {
    let (mut moves, mut made) = (Vec::new(), BTreeMap::new());
    for (id, body) in bodies {
        let next = target::with_version(
            body,
            &rollout.repository,
            &rollout.tag_rule,
            rollout.tag.as_deref(),
            rollout.digest.as_ref(),
        );
        let to = match next {
            None => Move::Skip(SkipReason::TargetChanged),
            Some(next) if next == *body => Move::Skip(SkipReason::AlreadyOnImage),
            Some(next) => {
                let next =
                    probes::apply(body, next, &rollout.repository, &rollout.tag_rule, checks);
                let next_id = target::state_id(&next);
                made.insert(next_id, next);
                Move::To(next_id)
            }
        };
        moves.push((*id, to));
    }
    (moves, made)
}
