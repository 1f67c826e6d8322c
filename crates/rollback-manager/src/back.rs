//! Beginning to take a rollout, or a part of it, back: by an order or because a budget is used up.

use serde_json::json;
use windlass_store::rollbacks::{self, Which};
use windlass_store::{Result, Session, events, rollouts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::image::ImageReference;
use windlass_types::rollout::{Rollout, RolloutStatus, StatusReason};

/// Who wants it back, and why.
pub(crate) struct Asked<'a> {
    pub(crate) actor: &'a str,
    pub(crate) reason: StatusReason,
    pub(crate) detail: &'a str,
}

/// Begins to take a rollout back, wherever it stands: also one that was completed, for faults that
/// show late. False where it was changed meanwhile: then the transaction is to be given up.
pub(crate) async fn whole(
    tx: &mut Session,
    rollout: &mut Rollout,
    asked: &Asked<'_>,
) -> Result<bool> {
    let was = rollout.status;
    rollout.status = RolloutStatus::RollingBack;
    rollout.status_reason = Some(asked.reason);
    rollout.status_detail = Some(asked.detail.to_owned());
    rollout.next_batch_at = None;
    rollout.finished_at = None;
    if !rollouts::save(tx, rollout).await? {
        return Ok(false);
    }
    rollout.version += 1;
    let skipped = rollbacks::skip_never_admitted(tx, rollout.id).await?;
    let event = NewEvent::new(EventType::RollbackStarted, asked.actor)
        .rollout(rollout.id, rollout.correlation_id)
        .data(json!({
            "was": was,
            "reason": asked.detail,
            "skipped": skipped,
        }))
        .stands(rollout);
    events::append(tx, event).await?;
    Ok(true)
}

/// Pauses a running rollout. False where it was changed meanwhile: then the transaction is to be given
/// up.
pub(crate) async fn pause(
    tx: &mut Session,
    rollout: &mut Rollout,
    asked: &Asked<'_>,
    data: serde_json::Value,
) -> Result<bool> {
    rollout.status = RolloutStatus::Paused;
    rollout.status_reason = Some(asked.reason);
    rollout.status_detail = Some(asked.detail.to_owned());
    if !rollouts::save(tx, rollout).await? {
        return Ok(false);
    }
    rollout.version += 1;
    let mut told = json!({
        "reason": asked.reason,
        "detail": asked.detail,
        "batch": rollout.current_batch,
    });
    if let (Some(told), serde_json::Value::Object(data)) = (told.as_object_mut(), data) {
        told.extend(data);
    }
    let event = NewEvent::new(EventType::RolloutPaused, asked.actor)
        .rollout(rollout.id, rollout.correlation_id)
        .subject(&image_of(rollout))
        .data(told)
        .stands(rollout);
    events::append(tx, event).await?;
    Ok(true)
}

/// The image of a rollout, as its events name it.
pub(crate) fn image_of(rollout: &Rollout) -> ImageReference {
    ImageReference::of(
        &rollout.repository,
        rollout.tag.as_deref(),
        rollout.digest.as_ref(),
    )
}

/// Has the devices of a batch that have the rollout's image put back, and pauses the rollout, so that
/// it does not go on without them. Returns how many there are; none where the rollout was changed
/// meanwhile.
pub(crate) async fn batch(
    tx: &mut Session,
    rollout: &mut Rollout,
    batch: i64,
    asked: &Asked<'_>,
) -> Result<Option<u64>> {
    let devices = rollbacks::order(tx, rollout.id, Which::Batch(batch), None, "operator").await?;
    if devices > 0 && rollout.status == RolloutStatus::InProgress {
        let data = json!({"rollback_batch": batch, "devices": devices});
        if !pause(tx, rollout, asked, data).await? {
            return Ok(None);
        }
    }
    Ok(Some(devices))
}
