//! Other active rollouts of the same image over the same devices.

use super::{Scope, Wanted};
use crate::build::Build;
use crate::db::Session;
use crate::error::{Result, parse};
use uuid::Uuid;
use windlass_types::api::Conflict;
use windlass_types::ids::RolloutId;
use windlass_types::image::{Digest, ImageReference};
use windlass_types::rollout::RolloutStatus;

/// An active rollout of the same repository that is about some of the same devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// The rollout.
    pub rollout: RolloutId,
    /// Its image.
    pub image: ImageReference,
    /// Where it stands.
    pub status: RolloutStatus,
    /// Its priority.
    pub priority: i32,
    /// How many devices both want: of one that wins all it has, of one that loses those that are not
    /// done with it.
    pub devices: i64,
    /// Whether it keeps them: its priority is higher. Where they are equal the newer one has them.
    pub wins: bool,
}

impl Rival {
    /// The same as operators see it.
    #[must_use]
    pub fn describe(&self) -> Conflict {
        Conflict {
            rollout_id: self.rollout,
            image: self.image.to_string(),
            priority: self.priority,
            devices: self.devices,
            other_keeps: self.wins,
        }
    }
}

/// Active rollouts of the repository with a higher priority than what is to ship. The policy's own is
/// not among them: the newer one takes its place.
pub(super) async fn above(session: &mut Session, wanted: &Wanted<'_>) -> Result<Vec<RolloutId>> {
    let mut sql = Build::new(session.kind());
    sql.text("SELECT id FROM image_rollouts WHERE finished_at IS NULL AND repository = ")
        .value(wanted.repository.to_string())
        .text(" AND priority > ")
        .value(i64::from(wanted.priority));
    if let Some(policy) = wanted.policy {
        sql.text(" AND (policy_id IS NULL OR policy_id <> ")
            .value(policy.0)
            .text(")");
    }
    sql.text(" ORDER BY id");
    let rows: Vec<(Uuid,)> = sql.on(session).all().await?;
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    status: String,
    priority: i64,
    devices: i64,
}

/// The active rollouts of the same image over devices of this scope, and who has them.
///
/// # Errors
/// Whatever the database says.
pub async fn conflicts(
    session: &mut Session,
    scope: &Scope,
    wanted: &Wanted<'_>,
) -> Result<Vec<Rival>> {
    if scope.moved.is_empty() || !any(session, scope, wanted).await? {
        return Ok(Vec::new());
    }
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text(
        "SELECT r.id, r.repository, r.tag, r.digest, r.status, r.priority, COUNT(*) AS devices \
         FROM image_rollouts r JOIN device_rollout_status o ON o.rollout_id = r.id JOIN (",
    );
    scope.query(&mut sql, now, None);
    sql.text(
        ") y ON y.uuid = o.device_uuid WHERE r.finished_at IS NULL AND o.status <> 'skipped' AND (",
    )
    .text("o.status IN ('pending', 'scheduled', 'updating', 'verifying') OR r.priority > ")
    .value(i64::from(wanted.priority))
    .text(") AND (y.reason IS NULL OR y.reason = 'higher_priority') AND r.repository = ")
    .value(scope.repository.to_string());
    if let Some(policy) = wanted.policy {
        sql.text(" AND (r.policy_id IS NULL OR r.policy_id <> ")
            .value(policy.0)
            .text(")");
    }
    sql.text(
        " GROUP BY r.id, r.repository, r.tag, r.digest, r.status, r.priority \
         ORDER BY r.priority DESC, r.id DESC",
    );
    let rows: Vec<Row> = sql.on(session).all().await?;
    rows.into_iter()
        .map(|row| {
            let digest: Option<Digest> = row
                .digest
                .map(|text| parse("image_rollouts.digest", &text))
                .transpose()?;
            let repository = parse("image_rollouts.repository", &row.repository)?;
            let priority = i32::try_from(row.priority).unwrap_or(i32::MAX);
            Ok(Rival {
                rollout: RolloutId(row.id),
                image: ImageReference::of(&repository, row.tag.as_deref(), digest.as_ref()),
                status: parse("image_rollouts.status", &row.status)?,
                priority,
                devices: row.devices,
                wins: priority > wanted.priority,
            })
        })
        .collect()
}

/// Whether there is any other active rollout of the repository: mostly there is none, and then no device
/// needs to be looked at.
async fn any(session: &mut Session, scope: &Scope, wanted: &Wanted<'_>) -> Result<bool> {
    let mut sql = Build::new(session.kind());
    sql.text("SELECT r.id FROM image_rollouts r WHERE r.finished_at IS NULL AND r.repository = ")
        .value(scope.repository.to_string());
    if let Some(policy) = wanted.policy {
        sql.text(" AND (r.policy_id IS NULL OR r.policy_id <> ")
            .value(policy.0)
            .text(")");
    }
    sql.text(" LIMIT 1");
    let found: Option<(Uuid,)> = sql.on(session).optional().await?;
    Ok(found.is_some())
}
