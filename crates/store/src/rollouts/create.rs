//! Making a rollout with its devices.

use super::scope::{End, Scope, Spread, ends, place};
use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use sqlx::types::Json;
use uuid::Uuid;
use windlass_core::batches::Layout;
use windlass_types::ids::{
    CorrelationId, DeliveryId, ImageVersionId, PolicyId, RolloutId, TriggerId,
};
use windlass_types::policy::{RolloutRule, TagRule};
use windlass_types::rollout::RolloutStatus;

/// A rollout to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRollout {
    /// Its id.
    pub id: RolloutId,
    /// The policy it follows.
    pub policy: Option<PolicyId>,
    /// The delivery that caused it.
    pub delivery: Option<DeliveryId>,
    /// The pushed version that caused it.
    pub version: Option<ImageVersionId>,
    /// The trigger that caused it.
    pub trigger: Option<TriggerId>,
    /// The tag it ships.
    pub tag: Option<String>,
    /// Its devices, repository and digest.
    pub scope: Scope,
    /// How it runs.
    pub rule: RolloutRule,
    /// Which services of the repository it moves.
    pub tag_rule: TagRule,
    /// Who has a device that two rollouts of the image want: the higher one.
    pub priority: i32,
    /// What its order was drawn from.
    pub seed: i64,
    /// Where it stands first.
    pub status: RolloutStatus,
    /// Which devices of the scope are in which batch.
    pub layout: Layout,
    /// How its devices are spread over their order ([`super::Preview::spread`]); they are dealt out the
    /// same without it, but slower.
    pub spread: Spread,
    /// What ties its events together.
    pub correlation: CorrelationId,
    /// Who made it.
    pub created_by: String,
}

/// Makes a rollout and its devices' rows: one statement for the rollout, one for all devices. Skipped
/// devices are shown in the last batch, so that they do not fill up the first. Returns how many
/// devices are in it. The scope is read once for the bounds and once here, so the transaction must
/// be a snapshot ([`crate::Store::begin_snapshot`]).
///
/// # Errors
/// A unique violation where another rollout of the same policy and repository is active, or the
/// same version or trigger has its rollout already.
pub async fn create(session: &mut Session, rollout: &NewRollout) -> Result<i64> {
    let now = session.now();
    session
        .sql(
            "INSERT INTO image_rollouts (id, policy_id, delivery_id, image_version_id, trigger_id, \
             repository, tag, digest, strategy, rule, filters, tag_rule, priority, seed, status, batch_count, \
             total_devices, correlation_id, created_by, created_at, without) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, $17, \
             $18, $19, $20)",
        )
        .bind(rollout.id.0)
        .bind(rollout.policy.map(|id| id.0))
        .bind(rollout.delivery.map(|id| id.0))
        .bind(rollout.version.map(|id| id.0))
        .bind(rollout.trigger.map(|id| id.0))
        .bind(rollout.scope.repository.to_string())
        .bind(rollout.tag.clone())
        .bind(rollout.scope.digest.as_ref().map(ToString::to_string))
        .bind(rollout.rule.strategy.as_str())
        .bind(Json(rollout.rule.clone()))
        .bind(Json(rollout.scope.filters.clone()))
        .bind(Json(rollout.tag_rule.clone()))
        .bind(i64::from(rollout.priority))
        .bind(rollout.seed)
        .bind(rollout.status.as_str())
        .bind(rollout.layout.batches())
        .bind(rollout.correlation.0)
        .bind(rollout.created_by.clone())
        .bind(now)
        .bind(Json(rollout.scope.without.clone()))
        .execute()
        .await?;
    if rollout.scope.moved.is_empty() {
        return Ok(0);
    }
    let devices = insert_devices(session, rollout.id.0, rollout).await?;
    let devices = i64::try_from(devices).unwrap_or(i64::MAX);
    session
        .sql("UPDATE image_rollouts SET total_devices = $1 WHERE id = $2")
        .bind(devices)
        .bind(rollout.id.0)
        .execute()
        .await?;
    Ok(devices)
}

async fn insert_devices(session: &mut Session, id: Uuid, rollout: &NewRollout) -> Result<u64> {
    let (kind, now) = (session.kind(), session.now());
    let (scope, layout) = (&rollout.scope, &rollout.layout);
    let ends = ends(session, scope, layout, &rollout.spread).await?;
    let mut sql = Build::new(kind);
    sql.text(
        "INSERT INTO device_rollout_status \
         (rollout_id, device_uuid, batch, status, reason, seen_version, updated_at) SELECT ",
    )
    .value(id)
    .text(
        ", z.uuid, z.batch, CASE WHEN z.reason IS NULL THEN 'pending' ELSE 'skipped' END, z.reason, \
         z.version, ",
    )
    .value(now)
    .text(" FROM (");
    match ends {
        Some(ends) => {
            sql.text("SELECT x.uuid, x.reason, x.version, ");
            batch(&mut sql, &ends, layout.batches());
            sql.text(" AS batch FROM (");
            scope.rows(&mut sql, now, None);
            sql.text(") x");
        }
        None => place(&mut sql, kind, scope, layout, now),
    }
    // In the order of the primary key, which then grows at its end only.
    sql.text(") z ORDER BY z.uuid");
    sql.on(session).execute().await
}

/// The batch of a device's row `x`: the first whose end it is not after.
fn batch(sql: &mut Build, ends: &[End], last: i64) {
    sql.text("CASE WHEN x.reason IS NOT NULL THEN ").value(last);
    for end in ends {
        sql.text(" WHEN ");
        end.reaches(sql);
        sql.text(" THEN ").value(end.batch);
    }
    sql.text(" ELSE ").value(last).text(" END");
}
