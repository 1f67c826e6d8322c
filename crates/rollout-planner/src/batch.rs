//! Admitting a batch.

use crate::NAME;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use std::collections::BTreeMap;
use windlass_core::versions::Rule;
use windlass_core::{probes, target};
use windlass_store::rollouts::{self, Admission, Admitted, Move, SliceOf};
use windlass_store::{Result, Session, events, image_facts, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::StateId;
use windlass_types::image::{Digest, ImageReference};
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

/// Gives the next devices of an open batch their new targets. The rollout is locked and saved. Returns
/// how many were admitted, and how many were left out.
pub(crate) async fn admit(
    tx: &mut Session,
    rollout: &Rollout,
    of: &SliceOf<'_>,
    image: &ImageReference,
) -> Result<Admitted> {
    let (now, batch) = (tx.now(), of.batch);
    let event = |kind| {
        NewEvent::new(kind, NAME)
            .rollout(rollout.id, rollout.correlation_id)
            .subject(image)
    };
    let left_out = event(EventType::DeviceSkipped).data(json!({"image": image, "batch": batch}));
    let taken = rollouts::take_slice(tx, rollout, of, &left_out).await?;
    let bodies = targets::states(tx, &taken.states).await?;
    let by_date = Rule::new(&rollout.tag_rule).is_ok_and(|rule| rule.is_by_build_date());
    let built = if by_date {
        image_facts::built(tx, &rollout.repository).await?
    } else {
        BTreeMap::new()
    };
    let (mut moves, made) = moves(rollout, batch, &bodies, &built);
    // A target that cannot be read would hold its batch for ever.
    let unread = taken.states.iter().filter(|id| !bodies.contains_key(id));
    moves.extend(unread.map(|id| (*id, Move::Skip(SkipReason::Unreadable))));
    targets::ensure_states(tx, &made).await?;
    let health = rollout.rule.health_of(batch);
    let seconds = |seconds: u32| TimeDelta::seconds(i64::from(seconds));
    let first_look = health
        .unreachable_after_seconds
        .min(health.deadline_seconds);
    let admission = Admission {
        batch,
        slice: taken.slice,
        moves,
        check_at: now + seconds(first_look),
        deadline_at: now + seconds(health.deadline_seconds),
        event: event(EventType::ImageUpdateScheduled).data(json!({
            "image": image,
            "batch": batch,
            "slice": taken.slice,
        })),
        skipped: left_out,
    };
    let mut done = rollouts::admit(tx, rollout, &admission).await?;
    done.skipped += taken.skipped;
    if done.skipped > 0 {
        tracing::info!(
            rollout.id = %rollout.id,
            batch,
            devices = done.skipped,
            "devices were left out: see their events"
        );
    }
    Ok(done)
}

/// What becomes of devices with these states, and the states that are needed for it.
fn moves(
    rollout: &Rollout,
    batch: i64,
    bodies: &BTreeMap<StateId, TargetState>,
    built: &BTreeMap<Digest, DateTime<Utc>>,
) -> (Vec<(StateId, Move)>, BTreeMap<StateId, TargetState>) {
    let (mut moves, mut made) = (Vec::new(), BTreeMap::new());
    let (tag, digest) = (rollout.tag.as_deref(), rollout.digest.as_ref());
    // A person who orders a version by name may order a lower one.
    let down = rollout.rule.allow_downgrade || rollout.policy_id.is_none();
    for (id, body) in bodies {
        let (repository, tag_rule) = (&rollout.repository, &rollout.tag_rule);
        let next = target::with_version(body, repository, tag_rule, tag, digest);
        let to = match next {
            None => Move::Skip(SkipReason::TargetChanged),
            Some(next) if next == *body => Move::There,
            Some(_)
                if !down
                    && target::goes_down(body, repository, tag_rule, tag, digest, &|digest| {
                        built.get(digest).copied()
                    }) =>
            {
                Move::Skip(SkipReason::Downgrade)
            }
            Some(next) => {
                let next = equipped(rollout, batch, body, next);
                let next_id = target::state_id(&next);
                made.insert(next_id, next);
                Move::To(next_id)
            }
        };
        moves.push((*id, to));
    }
    (moves, made)
}

/// A state with the new image, and what the rule of the batch asks of the services that have it: how they
/// change, and with which probes.
fn equipped(
    rollout: &Rollout,
    batch: i64,
    before: &TargetState,
    mut next: TargetState,
) -> TargetState {
    target::set_update_method(
        &mut next,
        &rollout.repository,
        rollout.tag.as_deref(),
        rollout.digest.as_ref(),
        rollout.rule.update_method,
    );
    let checks = rollout.rule.health_of(batch).checks;
    probes::apply(
        before,
        next,
        &rollout.repository,
        &rollout.tag_rule,
        &checks,
    )
}
