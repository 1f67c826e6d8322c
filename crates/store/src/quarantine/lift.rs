//! Letting a digest ship again.

use super::{COLUMNS, Class, Row};
use crate::db::Session;
use crate::error::Result;
use crate::events;
use serde_json::json;
use uuid::Uuid;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{CorrelationId, RolloutId};
use windlass_types::image::Digest;

/// Lets a digest ship again to all devices, also to those it failed on, and appends the event with
/// who lifted it and why. The failures so far no longer count against the budgets of its rollouts, or
/// it would be back at once. Returns false where it is neither in quarantine, for all or for a class,
/// nor failed on any device.
///
/// # Errors
/// Whatever the database says.
pub async fn lift(
    session: &mut Session,
    digest: &Digest,
    actor: &str,
    reason: &str,
) -> Result<bool> {
    let rows: Vec<Row> = session
        .built(format!(
            "DELETE FROM quarantined_digests WHERE digest = $1 RETURNING {COLUMNS}"
        ))
        .bind(digest.to_string())
        .all()
        .await?;
    let forgiven: Vec<(Uuid,)> = session
        .sql("DELETE FROM device_failed_images WHERE digest = $1 RETURNING rollout_id")
        .bind(digest.to_string())
        .all()
        .await?;
    tell(session, digest, None, rows, &forgiven, actor, reason).await
}

/// The same for the devices of one class. Returns false where it is not in quarantine for that class.
///
/// # Errors
/// Whatever the database says.
pub async fn lift_class(
    session: &mut Session,
    digest: &Digest,
    class: &Class,
    actor: &str,
    reason: &str,
) -> Result<bool> {
    let rows: Vec<Row> = session
        .built(format!(
            "DELETE FROM quarantined_digests WHERE digest = $1 AND tag_key = $2 \
             AND tag_value = $3 RETURNING {COLUMNS}"
        ))
        .bind(digest.to_string())
        .bind(class.key.clone())
        .bind(class.value.clone())
        .all()
        .await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let forgiven: Vec<(Uuid,)> = session
        .sql(
            "DELETE FROM device_failed_images WHERE digest = $1 AND COALESCE((SELECT t.value \
             FROM device_tags t WHERE t.device_uuid = device_failed_images.device_uuid \
             AND t.key = $2), '') = $3 RETURNING rollout_id",
        )
        .bind(digest.to_string())
        .bind(class.key.clone())
        .bind(class.value.clone())
        .all()
        .await?;
    tell(session, digest, Some(class), rows, &forgiven, actor, reason).await
}

/// Takes the failures so far out of the budgets and appends the event.
async fn tell(
    session: &mut Session,
    digest: &Digest,
    class: Option<&Class>,
    rows: Vec<Row>,
    forgiven: &[(Uuid,)],
    actor: &str,
    reason: &str,
) -> Result<bool> {
    let failed_in = forgiven.iter().map(|(rollout,)| *rollout).max();
    if rows.is_empty() && failed_in.is_none() {
        return Ok(false);
    }
    let now = session.now();
    session
        .sql(
            "UPDATE image_rollouts SET failures_from = $1 \
             WHERE COALESCE(digest, known_digest) = $2",
        )
        .bind(now)
        .bind(digest.to_string())
        .execute()
        .await?;
    let row = rows.first();
    let rollout = row.map_or(failed_in, |row| row.rollout_id);
    let known: Option<(Uuid, String)> = session
        .sql("SELECT correlation_id, repository FROM image_rollouts WHERE id = $1")
        .bind(rollout)
        .optional()
        .await?;
    let repository = row
        .map(|row| row.repository.clone())
        .or_else(|| known.as_ref().map(|(_, repository)| repository.clone()));
    let subject = repository
        .as_ref()
        .map_or_else(|| digest.to_string(), |name| format!("{name}@{digest}"));
    let mut event = NewEvent::new(EventType::QuarantineLifted, actor)
        .subject(&subject)
        .data(json!({
            "digest": digest,
            "repository": repository,
            "tag_key": class.map(|class| &class.key),
            "tag_value": class.map(|class| &class.value),
            "reason": reason,
            "was_quarantined_for": row.map(|row| &row.reason),
            "devices_forgiven": forgiven.len(),
        }));
    event.rollout_id = rollout.map(RolloutId);
    event.correlation_id = known.map(|(id, _)| CorrelationId(id));
    events::append(session, event).await?;
    Ok(true)
}
