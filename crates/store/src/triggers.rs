//! Rollouts that operators ask for by hand, until the planner has made them.

use crate::db::Session;
use crate::error::{Result, parse};
use crate::events;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::api::{Trigger, TriggerDecision};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{CorrelationId, PlanId, RolloutId, TriggerId};
use windlass_types::image::{ImageReference, Repository};
use windlass_types::policy::{Filters, OnUnresolved, RolloutRule};

/// A trigger to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTrigger {
    /// Its id.
    pub id: TriggerId,
    /// What ties its events together.
    pub correlation: CorrelationId,
    /// What to ship; with a tag, a digest or both.
    pub image: ImageReference,
    /// How.
    pub rule: RolloutRule,
    /// To which devices.
    pub filters: Filters,
    /// What to do while the digest is unknown.
    pub on_unresolved: OnUnresolved,
    /// Who has a device that two rollouts of the image want: the higher one.
    pub priority: i32,
    /// The plan that it is to ship exactly.
    pub plan: Option<PlanId>,
    /// Whether it ships without the signature that a policy requires.
    pub allow_unsigned: bool,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// Stores a trigger. One without a digest is to be resolved at once.
///
/// # Errors
/// Whatever the database says, also that a unique key is there: another ships the plan already.
pub async fn create(session: &mut Session, trigger: &NewTrigger) -> Result<()> {
    let now = session.now();
    let digest = trigger.image.digest();
    session
        .sql(
            "INSERT INTO image_triggers (id, repository, tag, digest, rule, filters, \
             on_unresolved, actor, reason, correlation_id, created_at, next_resolve_at, priority, \
             plan_id, unsigned) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
             $14, $15)",
        )
        .bind(trigger.id.0)
        .bind(trigger.image.repository().to_string())
        .bind(trigger.image.tag().map(str::to_owned))
        .bind(digest.map(ToString::to_string))
        .bind(Json(trigger.rule.clone()))
        .bind(Json(trigger.filters.clone()))
        .bind(trigger.on_unresolved.as_str())
        .bind(trigger.actor.clone())
        .bind(trigger.reason.clone())
        .bind(trigger.correlation.0)
        .bind(now)
        .bind(digest.is_none().then_some(now))
        .bind(i64::from(trigger.priority))
        .bind(trigger.plan.map(|id| id.0))
        .bind(trigger.allow_unsigned.then(|| "allowed".to_owned()))
        .execute()
        .await?;
    let given = NewEvent::new(EventType::CommandGiven, trigger.actor.clone())
        .subject(&trigger.image)
        .correlation(Some(trigger.correlation))
        .data(
            json!({"command": "trigger", "trigger_id": trigger.id, "reason": trigger.reason,
                     "plan_id": trigger.plan, "allow_unsigned": trigger.allow_unsigned}),
        );
    events::append(session, given).await?;
    Ok(())
}

/// The trigger that ships a plan: one that is open or led to a rollout. There is one at most.
///
/// # Errors
/// Whatever the database says.
pub async fn of_plan(session: &mut Session, plan: PlanId) -> Result<Option<TriggerId>> {
    let row: Option<(Uuid,)> = session
        .sql(
            "SELECT id FROM image_triggers WHERE plan_id = $1 AND plan_id IS NOT NULL \
             AND (settled_at IS NULL OR rollout_id IS NOT NULL)",
        )
        .bind(plan.0)
        .optional()
        .await?;
    Ok(row.map(|(id,)| TriggerId(id)))
}

#[derive(sqlx::FromRow)]
struct Row {
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    filters: Json<Filters>,
    actor: String,
    reason: String,
    correlation_id: Uuid,
    created_at: DateTime<Utc>,
    decision: Option<String>,
    unsigned: Option<String>,
    resolve_error: Option<String>,
    rollout_id: Option<Uuid>,
    detail: Option<String>,
    settled_at: Option<DateTime<Utc>>,
    signature_error: Option<String>,
}

/// A trigger as stored, and the id of its rollout; the rollout itself is left to the caller.
///
/// # Errors
/// Whatever the database says.
pub async fn get(
    session: &mut Session,
    id: TriggerId,
) -> Result<Option<(Trigger, Option<RolloutId>)>> {
    let row: Option<Row> = session
        .sql(
            "SELECT t.repository, t.tag, t.digest, t.filters, t.actor, t.reason, t.correlation_id, \
             t.created_at, t.decision, t.unsigned, t.resolve_error, t.rollout_id, t.detail, \
             t.settled_at, f.signature_error FROM image_triggers t LEFT JOIN image_facts f \
             ON f.repository = t.repository AND f.digest = t.digest WHERE t.id = $1",
        )
        .bind(id.0)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let repository: Repository = parse("image_triggers.repository", &row.repository)?;
    let digest = row.digest.as_deref();
    let digest = digest
        .map(|text| parse("image_triggers.digest", text))
        .transpose()?;
    let refused = row.unsigned.as_deref() == Some("refused");
    let decision = match &row.decision {
        Some(_) if refused => Some(TriggerDecision::Unsigned),
        Some(text) => Some(parse("image_triggers.decision", text)?),
        None => None,
    };
    let asked = row.unsigned.as_deref() == Some("asked");
    // What its registry said is newer than what was written down when it began to wait.
    let detail = match (&row.settled_at, &digest) {
        (None, None) => Some(row.resolve_error.map_or_else(
            || "the registry is asked for the tag's digest".to_owned(),
            |error| format!("the digest of the tag is not known: the registry said {error}"),
        )),
        (None, Some(_)) if asked && row.signature_error.is_some() => row
            .signature_error
            .map(|error| format!("its registry does not tell its signatures: {error}")),
        _ => None,
    };
    let trigger = Trigger {
        id,
        image: ImageReference::of(&repository, row.tag.as_deref(), digest.as_ref()).to_string(),
        filters: row.filters.0,
        actor: row.actor,
        reason: row.reason,
        correlation_id: CorrelationId(row.correlation_id),
        created_at: row.created_at,
        decision,
        detail: detail.or(row.detail),
        rollout: None,
        settled_at: row.settled_at,
    };
    Ok(Some((trigger, row.rollout_id.map(RolloutId))))
}
