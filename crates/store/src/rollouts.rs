//! Rollouts and the devices in them: reading them, making them, admitting batches, moving them on.

mod admit;
mod change;
mod create;
mod facts;
mod failures;
mod gates;
mod give_up;
mod members;
mod orders;
mod scope;

pub use admit::{
    Admission, Admitted, Move, SliceOf, Taken, admit, full, holders, lock_limits, take_slice,
};
pub use change::{restart_failure_count, save, skip_pending, supersede, to_supersede};
pub use create::{NewRollout, create};
pub use facts::{active_by_status, facts, moving, next_due, progress, shipped_digest};
pub use failures::failure_count;
pub use gates::{admitted_lately, approvals, checks, time_zones, waiting};
pub use members::{Changed, Joined, Left, active, changed_since, follow};
pub use orders::{Again, approve, retry, waive_checks};
pub(crate) use scope::place;
pub use scope::{
    Preview, PreviewDevice, Rival, Scope, Spread, Wanted, conflicts, images_in_use, preview,
};

use crate::db::Session;
use crate::error::{Result, parse};
use crate::store::Kind;
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::ids::{CorrelationId, DeliveryId, PolicyId, RolloutId};
use windlass_types::policy::{Filters, RolloutRule, TagRule};
use windlass_types::rollout::Rollout;

/// The columns that [`Row`] reads.
pub(crate) const COLUMNS: &str = "id, policy_id, delivery_id, repository, tag, digest, strategy, \
     rule, filters, tag_rule, priority, freeze_override, freeze_override_at, seed, status, status_reason, status_detail, current_batch, \
     batch_count, next_batch_at, total_devices, version, correlation_id, created_at, started_at, \
     finished_at";

/// A rollout as the database has it.
#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    id: Uuid,
    policy_id: Option<Uuid>,
    delivery_id: Option<Uuid>,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    strategy: String,
    rule: Json<RolloutRule>,
    filters: Json<Filters>,
    tag_rule: Json<TagRule>,
    priority: i64,
    freeze_override: Option<String>,
    freeze_override_at: Option<DateTime<Utc>>,
    seed: i64,
    status: String,
    status_reason: Option<String>,
    status_detail: Option<String>,
    current_batch: i64,
    batch_count: i64,
    next_batch_at: Option<DateTime<Utc>>,
    total_devices: i64,
    version: i64,
    correlation_id: Uuid,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Rollout {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        let reason = row.status_reason.as_deref();
        Ok(Self {
            id: RolloutId(row.id),
            policy_id: row.policy_id.map(PolicyId),
            delivery_id: row.delivery_id.map(DeliveryId),
            repository: parse("image_rollouts.repository", &row.repository)?,
            tag: row.tag,
            digest: row
                .digest
                .map(|text| parse("image_rollouts.digest", &text))
                .transpose()?,
            strategy: parse("image_rollouts.strategy", &row.strategy)?,
            rule: row.rule.0,
            filters: row.filters.0,
            tag_rule: row.tag_rule.0,
            // Written from an i32.
            priority: i32::try_from(row.priority).unwrap_or(i32::MAX),
            freeze_override: row.freeze_override,
            freeze_override_at: row.freeze_override_at,
            seed: row.seed,
            status: parse("image_rollouts.status", &row.status)?,
            status_reason: reason
                .map(|text| parse("image_rollouts.status_reason", text))
                .transpose()?,
            status_detail: row.status_detail,
            current_batch: row.current_batch,
            batch_count: row.batch_count,
            next_batch_at: row.next_batch_at,
            total_devices: row.total_devices,
            version: row.version,
            correlation_id: CorrelationId(row.correlation_id),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

/// A rollout by its id.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, id: RolloutId) -> Result<Option<Rollout>> {
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM image_rollouts WHERE id = $1"
        ))
        .bind(id.0)
        .optional()
        .await?;
    row.map(Rollout::try_from).transpose()
}

/// A rollout by its id, locked until the transaction ends: whoever changes a rollout or its devices
/// takes this lock before any other, so that changes of one rollout come one after the other.
///
/// # Errors
/// Whatever the database says.
pub async fn lock(session: &mut Session, id: RolloutId) -> Result<Option<Rollout>> {
    // On SQLite a transaction that writes is the only one.
    let lock = match session.kind() {
        Kind::Postgres => " FOR UPDATE",
        Kind::Sqlite => "",
    };
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM image_rollouts WHERE id = $1{lock}"
        ))
        .bind(id.0)
        .optional()
        .await?;
    row.map(Rollout::try_from).transpose()
}
