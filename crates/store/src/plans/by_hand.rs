//! Rollouts by hand that are still to be made, and what was made of them.

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::api::TriggerDecision;
use windlass_types::ids::{CorrelationId, PlanId, RolloutId, TriggerId};
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::{Filters, OnUnresolved, RolloutRule};

/// A rollout by hand that has not been made yet.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTrigger {
    /// Its id.
    pub id: TriggerId,
    /// The repository.
    pub repository: Repository,
    /// The tag it ships.
    pub tag: Option<String>,
    /// The digest it ships, once known.
    pub digest: Option<Digest>,
    /// How it runs.
    pub rule: RolloutRule,
    /// Which devices.
    pub filters: Filters,
    /// What to do while the digest is unknown.
    pub on_unresolved: OnUnresolved,
    /// Who has a device that two rollouts of the image want.
    pub priority: i32,
    /// The plan it is to ship exactly.
    pub plan: Option<PlanId>,
    /// Whether it ships without the signature that a policy requires.
    pub allow_unsigned: bool,
    /// Whether the registry was asked anew for its signatures.
    pub asked_signatures: bool,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Who asked for it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What ties its events together.
    pub correlation: CorrelationId,
    /// How often its registry was asked for the digest in vain.
    pub attempts: i64,
}

#[derive(sqlx::FromRow)]
struct TriggerRow {
    id: Uuid,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    rule: Json<RolloutRule>,
    filters: Json<Filters>,
    on_unresolved: String,
    priority: i64,
    plan_id: Option<Uuid>,
    unsigned: Option<String>,
    created_at: DateTime<Utc>,
    actor: String,
    reason: String,
    correlation_id: Uuid,
    resolve_attempts: i64,
}

impl TryFrom<TriggerRow> for OpenTrigger {
    type Error = crate::Error;
    fn try_from(row: TriggerRow) -> Result<Self> {
        Ok(Self {
            id: TriggerId(row.id),
            repository: parse("image_triggers.repository", &row.repository)?,
            tag: row.tag,
            digest: row
                .digest
                .map(|text| parse("image_triggers.digest", &text))
                .transpose()?,
            rule: row.rule.0,
            filters: row.filters.0,
            on_unresolved: parse("image_triggers.on_unresolved", &row.on_unresolved)?,
            // Written from an i32.
            priority: i32::try_from(row.priority).unwrap_or(i32::MAX),
            plan: row.plan_id.map(PlanId),
            allow_unsigned: row.unsigned.as_deref() == Some("allowed"),
            asked_signatures: row.unsigned.as_deref() == Some("asked"),
            created_at: row.created_at,
            actor: row.actor,
            reason: row.reason,
            correlation: CorrelationId(row.correlation_id),
            attempts: row.resolve_attempts,
        })
    }
}

/// Up to `limit` triggers after this one that can be planned: their digest is known, or they ship
/// the tag as it is and its registry was asked at least `attempts` times.
///
/// # Errors
/// Whatever the database says.
pub async fn open_triggers(
    session: &mut Session,
    attempts: i64,
    after: Option<TriggerId>,
    limit: i64,
) -> Result<Vec<TriggerId>> {
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT id FROM image_triggers WHERE settled_at IS NULL AND id > $1 AND \
             (digest IS NOT NULL OR (on_unresolved = 'ship_tag' AND resolve_attempts >= $2)) \
             ORDER BY id LIMIT CAST($3 AS BIGINT)",
        )
        .bind(after.map_or(Uuid::nil(), |id| id.0))
        .bind(attempts)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| TriggerId(id)).collect())
}

/// The columns of a [`TriggerRow`].
const COLUMNS: &str = "id, repository, tag, digest, rule, filters, on_unresolved, priority, plan_id, \
     unsigned, created_at, actor, reason, correlation_id, resolve_attempts";

/// A trigger as it is; none where it is settled.
///
/// # Errors
/// Whatever the database says.
pub async fn open_trigger(session: &mut Session, id: TriggerId) -> Result<Option<OpenTrigger>> {
    let row: Option<TriggerRow> = session
        .built(format!(
            "SELECT {COLUMNS} FROM image_triggers WHERE id = $1 AND settled_at IS NULL"
        ))
        .bind(id.0)
        .optional()
        .await?;
    row.map(OpenTrigger::try_from).transpose()
}

/// Takes a trigger for planning: until the transaction ends nobody else does. None where it is
/// settled.
///
/// # Errors
/// Whatever the database says; a conflict where another replica was first in a snapshot.
pub async fn take_trigger(session: &mut Session, id: TriggerId) -> Result<Option<OpenTrigger>> {
    // A write that changes nothing locks the row on one database and is no harm on the other.
    let row: Option<TriggerRow> = session
        .built(format!(
            "UPDATE image_triggers SET detail = detail WHERE id = $1 AND settled_at IS NULL \
             RETURNING {COLUMNS}"
        ))
        .bind(id.0)
        .optional()
        .await?;
    row.map(OpenTrigger::try_from).transpose()
}

/// Writes down that a trigger waits for its image's signatures, which the registry is asked for anew, and what it
/// waits for, for people.
///
/// # Errors
/// Whatever the database says.
pub async fn trigger_asks_signatures(
    session: &mut Session,
    id: TriggerId,
    detail: &str,
) -> Result<()> {
    session
        .sql(
            "UPDATE image_triggers SET unsigned = 'asked', detail = $1 \
             WHERE id = $2 AND settled_at IS NULL AND unsigned IS NULL",
        )
        .bind(detail.to_owned())
        .bind(id.0)
        .execute()
        .await?;
    Ok(())
}

/// Writes down what was made of a trigger. Where its rollout ships a tag without a digest, the registry
/// goes on being asked for it. Returns false where it was settled already.
///
/// # Errors
/// Whatever the database says.
pub async fn settle_trigger(
    session: &mut Session,
    id: TriggerId,
    decision: TriggerDecision,
    rollout: Option<RolloutId>,
    detail: Option<&str>,
) -> Result<bool> {
    let now = session.now();
    // The table's CHECK does not know it; the column beside it does.
    let written = match decision {
        TriggerDecision::Unsigned => TriggerDecision::Quarantined,
        TriggerDecision::Rollout
        | TriggerDecision::NoDevices
        | TriggerDecision::Quarantined
        | TriggerDecision::PlanChanged => decision,
    };
    let settled = session
        .sql(
            "UPDATE image_triggers SET decision = $1, rollout_id = $2, detail = $3, \
             next_resolve_at = CASE WHEN digest IS NULL AND $6 THEN next_resolve_at END, \
             unsigned = CASE WHEN $7 THEN 'refused' ELSE unsigned END, \
             settled_at = $4 WHERE id = $5 AND settled_at IS NULL",
        )
        .bind(written.as_str())
        .bind(rollout.map(|id| id.0))
        .bind(detail.map(str::to_owned))
        .bind(now)
        .bind(id.0)
        .bind(rollout.is_some())
        .bind(decision == TriggerDecision::Unsigned)
        .execute()
        .await?;
    Ok(settled == 1)
}
