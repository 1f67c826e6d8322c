//! Devices that wait to be tried again and will not be: they have the image in their target, so they
//! are no more skipped than those on their way. See docs/adr/0013-budgets-and-ways-back.md.

use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::events;
use crate::quarantine::holds;
use serde_json::json;
use uuid::Uuid;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::image::ImageReference;
use windlass_types::rollout::{DeviceStatus, Rollout, SkipReason};

/// That a row waits to be tried again with the rollout's image in its target: it was not put back
/// since, and the device is still there.
const HAS_IMAGE: &str = "status = 'pending' AND retry_at IS NOT NULL AND rollback_version IS NULL \
     AND EXISTS (SELECT 1 FROM device_targets had \
     WHERE had.device_uuid = device_rollout_status.device_uuid)";

/// What a rollout's devices run.
const DIGEST: &str = "(SELECT COALESCE(r.digest, r.known_digest) FROM image_rollouts r \
     WHERE r.id = device_rollout_status.rollout_id)";

/// Whether a device that is left out for this reason may have the image in its target all the same. A
/// target that somebody else set is theirs, and nobody is left to put back where a device is deleted.
pub(super) const fn may_have_image(reason: SkipReason) -> bool {
    match reason {
        SkipReason::OutOfScope
        | SkipReason::Disabled
        | SkipReason::PenaltyBox
        | SkipReason::Quarantined
        | SkipReason::FailedHereBefore
        | SkipReason::HigherPriority
        | SkipReason::RolloutEnded
        | SkipReason::Unreadable => true,
        SkipReason::Deleted
        | SkipReason::TargetChanged
        | SkipReason::AlreadyOnImage
        | SkipReason::Downgrade
        | SkipReason::OtherPlatform => false,
    }
}

/// Ends the tries of those devices of a rollout, which the caller has locked, that a condition holds
/// for: they failed for the reason that they were put off for, and are put back where the rule
/// says so of failed devices, or where the digest is in quarantine for them. Tells of each, in this
/// actor's name, and returns how many there were.
pub(super) async fn give_up(
    session: &mut Session,
    rollout: &Rollout,
    (reason, actor): (SkipReason, &str),
    condition: impl FnOnce(&mut Build),
) -> Result<usize> {
    if !may_have_image(reason) {
        return Ok(0);
    }
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text(
        "UPDATE device_rollout_status SET status = 'failed', verdict = 'environment', reason = ",
    )
    .text("COALESCE(reason, ")
    .value(reason.as_str())
    .text("), retry_at = NULL, judged_at = ")
    .value(now)
    .text(", updated_at = ")
    .value(now);
    if rollout.rule.failure.auto_rollback {
        sql.text(", check_at = ").value(now);
    } else {
        sql.text(", check_at = CASE WHEN ")
            .text(&holds("device_rollout_status.device_uuid", DIGEST))
            .text(" THEN ")
            .value(now)
            .text(" END");
    }
    sql.text(" WHERE rollout_id = ")
        .value(rollout.id.0)
        .text(" AND ")
        .text(HAS_IMAGE)
        .text(" AND (");
    condition(&mut sql);
    sql.text(") RETURNING device_uuid, batch, target_version, reason");
    let mut rows: Vec<(Uuid, i64, Option<i64>, String)> = sql.on(session).all().await?;
    rows.sort_unstable();
    let image = ImageReference::of(
        &rollout.repository,
        rollout.tag.as_deref(),
        rollout.digest.as_ref(),
    );
    let told: Vec<NewEvent> = rows
        .into_iter()
        .map(|(device, batch, version, failed)| {
            NewEvent::new(EventType::UpdateFailed, actor)
                .rollout(rollout.id, rollout.correlation_id)
                .device(DeviceId(device))
                .subject(&image)
                .data(json!({
                    "image": image,
                    "batch": batch,
                    "target_version": version,
                    "status": DeviceStatus::Failed,
                    "reason": failed,
                    "verdict": "environment",
                    "not_tried_again": reason,
                }))
        })
        .collect();
    let devices = told.len();
    events::append_all(session, told).await?;
    Ok(devices)
}
