//! Digests that ship no more.

use crate::db::Session;
use crate::error::{Result, parse};
use crate::events;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::api::QuarantinedDigest;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{CorrelationId, RolloutId};
use windlass_types::image::{Digest, Repository};

#[derive(sqlx::FromRow)]
struct Row {
    digest: String,
    repository: String,
    rollout_id: Option<Uuid>,
    reason: String,
    evidence: Json<Value>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for QuarantinedDigest {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            digest: parse("quarantined_digests.digest", &row.digest)?,
            repository: row.repository,
            tag_key: None,
            tag_value: None,
            rollout_id: row.rollout_id.map(RolloutId),
            reason: row.reason,
            evidence: row.evidence.0,
            created_at: row.created_at,
        })
    }
}

/// Whether a digest is in quarantine.
///
/// # Errors
/// Whatever the database says.
pub async fn contains(session: &mut Session, digest: &Digest) -> Result<bool> {
    let found: Option<(String,)> = session
        .sql("SELECT digest FROM quarantined_digests WHERE digest = $1 AND tag_key = ''")
        .bind(digest.to_string())
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Whether anything is in quarantine.
///
/// # Errors
/// Whatever the database says.
pub async fn any(session: &mut Session) -> Result<bool> {
    let found: Option<(String,)> = session
        .sql("SELECT digest FROM quarantined_digests LIMIT 1")
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Puts a digest into quarantine. Returns false where it is there already; the first reason stays.
/// The caller appends the event.
///
/// # Errors
/// Whatever the database says.
pub async fn add(
    session: &mut Session,
    digest: &Digest,
    repository: &Repository,
    rollout: Option<RolloutId>,
    reason: &str,
    evidence: Value,
) -> Result<bool> {
    let now = session.now();
    let added = session
        .sql(
            "INSERT INTO quarantined_digests (digest, repository, rollout_id, reason, evidence, \
             created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (digest, tag_key, tag_value) DO NOTHING",
        )
        .bind(digest.to_string())
        .bind(repository.to_string())
        .bind(rollout.map(|id| id.0))
        .bind(reason.to_owned())
        .bind(Json(evidence))
        .bind(now)
        .execute()
        .await?;
    Ok(added == 1)
}

/// One digest's quarantine, with its evidence.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, digest: &Digest) -> Result<Option<QuarantinedDigest>> {
    let row: Option<Row> = session
        .sql(
            "SELECT digest, repository, rollout_id, reason, evidence, created_at \
             FROM quarantined_digests WHERE digest = $1 AND tag_key = ''",
        )
        .bind(digest.to_string())
        .optional()
        .await?;
    row.map(QuarantinedDigest::try_from).transpose()
}

/// Up to `limit` digests in quarantine, in the order of their text, after one of them.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    after: Option<&Digest>,
    limit: i64,
) -> Result<Vec<QuarantinedDigest>> {
    let rows: Vec<Row> = session
        .sql(
            "SELECT digest, repository, rollout_id, reason, evidence, created_at \
             FROM quarantined_digests WHERE digest > $1 ORDER BY digest LIMIT $2",
        )
        .bind(after.map_or_else(String::new, Digest::to_string))
        .bind(limit)
        .all()
        .await?;
    rows.into_iter().map(QuarantinedDigest::try_from).collect()
}

/// Lets a digest ship again, also to the devices it failed on, and appends the event with who
/// lifted it and why. The failures so far no longer count against the budgets of its rollouts, or it
/// would be back at once. Returns false where it is neither in quarantine nor failed on any device.
///
/// # Errors
/// Whatever the database says.
pub async fn lift(
    session: &mut Session,
    digest: &Digest,
    actor: &str,
    reason: &str,
) -> Result<bool> {
    let row: Option<Row> = session
        .sql(
            "DELETE FROM quarantined_digests WHERE digest = $1 \
             RETURNING digest, repository, rollout_id, reason, evidence, created_at",
        )
        .bind(digest.to_string())
        .optional()
        .await?;
    let forgiven: Vec<(Uuid,)> = session
        .sql("DELETE FROM device_failed_images WHERE digest = $1 RETURNING rollout_id")
        .bind(digest.to_string())
        .all()
        .await?;
    let failed_in = forgiven.iter().map(|(rollout,)| *rollout).max();
    if row.is_none() && failed_in.is_none() {
        return Ok(false);
    }
    let now = session.now();
    session
        .sql("UPDATE image_rollouts SET failures_from = $1 WHERE digest = $2")
        .bind(now)
        .bind(digest.to_string())
        .execute()
        .await?;
    let rollout = row.as_ref().map_or(failed_in, |row| row.rollout_id);
    let known: Option<(Uuid, String)> = session
        .sql("SELECT correlation_id, repository FROM image_rollouts WHERE id = $1")
        .bind(rollout)
        .optional()
        .await?;
    let repository = row
        .as_ref()
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
            "reason": reason,
            "was_quarantined_for": row.map(|row| row.reason),
            "devices_forgiven": forgiven.len(),
        }));
    event.rollout_id = rollout.map(RolloutId);
    event.correlation_id = known.map(|(id, _)| CorrelationId(id));
    events::append(session, event).await?;
    Ok(true)
}
