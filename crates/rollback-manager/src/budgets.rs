//! Failure budgets: a rollout beyond its own is paused, and its digest goes into quarantine.

use crate::NAME;
use crate::each::Trouble;
use serde_json::json;
use windlass_core::budget::{Exceeded, exceeded};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::{Result, Session, events, quarantine, rollbacks, rollouts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::RolloutId;
use windlass_types::image::ImageReference;
use windlass_types::rollout::{Rollout, RolloutStatus};

/// Failures kept as evidence beside a quarantine: enough to see what they have in common.
const SAMPLE: i64 = 5;

/// Pauses each running rollout that is beyond its budget, and puts the digest of each that is into
/// quarantine, whether it still runs or was stopped, overtaken or completed before.
///
/// # Errors
/// Whatever the store says; rollouts paused before stay paused.
pub async fn run(deps: &Deps, _group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let mut over = Vec::new();
    let mut trouble = Trouble::default();
    for id in rollbacks::rollouts_with_failures(&mut read).await? {
        let found = is_over(&mut read, id).await;
        if trouble.note(id, found).unwrap_or(false) {
            over.push(id);
        }
    }
    drop(read);
    for id in over {
        trouble.note(id, stop(deps, id).await);
    }
    trouble.end(Next::Idle)
}

async fn is_over(session: &mut Session, id: RolloutId) -> Result<bool> {
    Ok(match rollouts::get(session, id).await? {
        Some(rollout) => judge(session, &rollout).await?.is_some(),
        None => false,
    })
}

/// Whether a rollout is beyond its budget.
async fn judge(session: &mut Session, rollout: &Rollout) -> Result<Option<Exceeded>> {
    let failures = rollouts::failure_count(session, rollout).await?;
    let ended = rollbacks::batch_ended(session, rollout.id, rollout.current_batch).await?;
    Ok(exceeded(
        &failures,
        &rollout.rule.failure,
        rollout.current_batch,
        ended,
    ))
}

async fn stop(deps: &Deps, id: RolloutId) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let Some(mut rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(());
    };
    // Again, under the lock: it may have been resumed or paused meanwhile.
    let Some(found) = judge(&mut tx, &rollout).await? else {
        return tx.rollback().await;
    };
    let running = rollout.status == RolloutStatus::InProgress;
    if running {
        rollout.status = RolloutStatus::Paused;
        rollout.status_reason = Some(found.reason);
        rollout.status_detail = Some(found.detail.clone());
        if !rollouts::save(&mut tx, &rollout).await? {
            return tx.rollback().await;
        }
    }
    let image = ImageReference::of(
        &rollout.repository,
        rollout.tag.as_deref(),
        rollout.digest.as_ref(),
    );
    let event = |kind| {
        NewEvent::new(kind, NAME)
            .rollout(rollout.id, rollout.correlation_id)
            .subject(&image)
            .data(json!({
                "image": image,
                "reason": found.reason,
                "detail": found.detail,
                "batch": rollout.current_batch,
            }))
            .stands(&rollout)
    };
    let mut told = Vec::new();
    if running {
        told.push(event(EventType::RolloutPaused));
    }
    // A bare tag that was shipped may have turned out to name a digest since.
    if let Some(digest) = &rollouts::shipped_digest(&mut tx, id).await? {
        let failures = rollbacks::failed_sample(&mut tx, id, SAMPLE).await?;
        let evidence = json!({
            "rollout_id": id,
            "image": image,
            "reason": found.reason,
            "detail": found.detail,
            "latest_failures": failures,
        });
        let new = quarantine::add(
            &mut tx,
            digest,
            &rollout.repository,
            Some(id),
            &found.detail,
            evidence,
        )
        .await?;
        if new {
            told.push(event(EventType::Quarantined));
        }
    }
    if told.is_empty() {
        return tx.rollback().await;
    }
    events::append_all(&mut tx, told).await?;
    deps.commit(tx).await?;
    tracing::warn!(
        rollout.id = %id,
        image = %image,
        reason = %found.reason,
        detail = found.detail,
        paused = running,
        "a rollout went beyond its failure budget"
    );
    Ok(())
}
