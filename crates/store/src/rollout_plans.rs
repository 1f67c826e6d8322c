//! Plans as they were shown, with every device, so that they can be shipped exactly so: see
//! docs/adr/0011-layout-scope-conflicts.md.

mod changes;

pub use changes::{Change, Changes, changes};

use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::rollouts::{Scope, place};
use chrono::{DateTime, Utc};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sqlx::types::Json;
use uuid::Uuid;
use windlass_core::batches::Layout;
use windlass_types::api::{RolloutPlan, TriggerPlan, TriggerRequest};
use windlass_types::ids::PlanId;
use windlass_types::image::ImageReference;
use windlass_types::policy::{Filters, RolloutRule};

/// A plan to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPlan {
    /// Its id.
    pub id: PlanId,
    /// What was asked.
    pub request: TriggerRequest,
    /// What is shown; `plan_id` and `expires_at` are filled in.
    pub plan: TriggerPlan,
    /// What it is about ([`fingerprint`]).
    pub fingerprint: String,
    /// Who asked.
    pub created_by: String,
    /// Until when it can be applied.
    pub expires_at: DateTime<Utc>,
}

/// What makes two plans the same but for their devices: image, rule, filters and priority, as a hash.
#[must_use]
pub fn fingerprint(
    image: &ImageReference,
    rule: &RolloutRule,
    filters: &Filters,
    priority: i32,
) -> String {
    // Maps are ordered, so the text is canonical.
    let text = json!([image, rule, filters, priority]).to_string();
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Keeps a plan with every device of its scope: where it would be and why it would be skipped. The
/// transaction must be the snapshot in which the scope was read ([`crate::Store::begin_snapshot`]).
///
/// # Errors
/// Whatever the database says.
pub async fn save(
    session: &mut Session,
    new: &NewPlan,
    scope: &Scope,
    layout: &Layout,
) -> Result<RolloutPlan> {
    let (kind, now) = (session.kind(), session.now());
    let mut plan = new.plan.clone();
    plan.plan_id = Some(new.id);
    plan.expires_at = Some(new.expires_at);
    session
        .sql(
            "INSERT INTO rollout_plans (id, request, summary, fingerprint, created_by, created_at, \
             expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(new.id.0)
        .bind(Json(new.request.clone()))
        .bind(Json(plan.clone()))
        .bind(new.fingerprint.clone())
        .bind(new.created_by.clone())
        .bind(now)
        .bind(new.expires_at)
        .execute()
        .await?;
    if !scope.moved.is_empty() {
        let mut sql = Build::new(kind);
        sql.text("INSERT INTO rollout_plan_devices (plan_id, device_uuid, batch, skip) SELECT ")
            .value(new.id.0)
            .text(", z.uuid, z.batch, z.reason FROM (");
        place(&mut sql, kind, scope, layout, now);
        sql.text(") z");
        sql.on(session).execute().await?;
    }
    Ok(RolloutPlan {
        id: new.id,
        request: new.request.clone(),
        plan,
        created_by: new.created_by.clone(),
        created_at: now,
        expires_at: new.expires_at,
    })
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    request: Json<TriggerRequest>,
    summary: Json<TriggerPlan>,
    fingerprint: String,
    created_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// A plan and its fingerprint, also where its time is over.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, id: PlanId) -> Result<Option<(RolloutPlan, String)>> {
    let row: Option<Row> = session
        .sql(
            "SELECT id, request, summary, fingerprint, created_by, created_at, expires_at \
             FROM rollout_plans WHERE id = $1",
        )
        .bind(id.0)
        .optional()
        .await?;
    Ok(row.map(|row| {
        let plan = RolloutPlan {
            id: PlanId(row.id),
            request: row.request.0,
            plan: row.summary.0,
            created_by: row.created_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
        };
        (plan, row.fingerprint)
    }))
}

/// Forgets plans whose time is over, except those that a trigger is about to ship. Returns how many.
///
/// # Errors
/// Whatever the database says.
pub async fn expire(session: &mut Session) -> Result<u64> {
    let now = session.now();
    session
        .sql(
            "DELETE FROM rollout_plans WHERE expires_at <= $1 AND NOT EXISTS (\
               SELECT 1 FROM image_triggers t WHERE t.plan_id = rollout_plans.id \
               AND t.settled_at IS NULL)",
        )
        .bind(now)
        .execute()
        .await
}
