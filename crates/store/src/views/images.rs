//! Versions of images that were seen, and what the planner made of them.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::waits;
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::api::{ImageVersion, VersionFacts, VersionPlan};
use windlass_types::delivery::PushKind;
use windlass_types::ids::{CorrelationId, DeliveryId, ImageVersionId, PolicyId, RolloutId};
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::Platform;

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    repository: String,
    tag: String,
    digest: Option<String>,
    actor: Option<String>,
    pushed_at: Option<DateTime<Utc>>,
    seen_at: DateTime<Utc>,
    delivery_id: Option<Uuid>,
    correlation_id: Uuid,
    replaced_at: Option<DateTime<Utc>>,
    resolve_error: Option<String>,
    kind: String,
    platforms: Option<Json<Vec<Platform>>>,
    built_at: Option<DateTime<Utc>>,
    artifact: Option<bool>,
    told_at: Option<DateTime<Utc>>,
    decision: Option<String>,
    detail: Option<String>,
    policy_id: Option<Uuid>,
    rollout_id: Option<Uuid>,
    decided_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "v.id, v.repository, v.tag, v.digest, v.actor, v.pushed_at, v.seen_at, \
     v.delivery_id, v.correlation_id, v.replaced_at, v.resolve_error, v.kind, \
     f.platforms, f.built_at, f.artifact, f.told_at, p.decision, p.detail, \
     p.policy_id, p.rollout_id, p.decided_at";

const FROM: &str = "image_versions v \
     LEFT JOIN image_plans p ON p.image_version_id = v.id AND p.position = 0 \
     LEFT JOIN image_facts f ON f.repository = v.repository AND f.digest = v.digest";

/// Up to `limit` versions seen before this one, latest first; with `repository` only its own.
///
/// # Errors
/// Whatever the database says.
pub async fn image_versions(
    session: &mut Session,
    repository: Option<&Repository>,
    after: Option<ImageVersionId>,
    limit: i64,
) -> Result<Vec<ImageVersion>> {
    let only = if repository.is_some() {
        " AND v.repository = $3"
    } else {
        ""
    };
    let mut statement = session
        .built(format!(
            "SELECT {COLUMNS} FROM {FROM} WHERE v.id < $1{only} ORDER BY v.id DESC LIMIT $2"
        ))
        .bind(after.map_or(Uuid::max(), |id| id.0))
        .bind(limit);
    if let Some(repository) = repository {
        statement = statement.bind(repository.to_string());
    }
    let rows = statement.all().await?;
    with_plans(session, rows).await
}

/// The latest version of a repository that was seen: of this tag and digest where they are given.
///
/// # Errors
/// Whatever the database says.
pub(super) async fn latest_version(
    session: &mut Session,
    repository: &Repository,
    tag: Option<&str>,
    digest: Option<&Digest>,
) -> Result<Option<ImageVersion>> {
    let mut sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE v.repository = $1");
    if tag.is_some() {
        sql.push_str(" AND v.tag = $2");
    }
    if digest.is_some() {
        sql.push_str(if tag.is_some() {
            " AND v.digest = $3"
        } else {
            " AND v.digest = $2"
        });
    }
    sql.push_str(" ORDER BY v.id DESC LIMIT 1");
    let mut statement = session.built(sql).bind(repository.to_string());
    if let Some(tag) = tag {
        statement = statement.bind(tag.to_owned());
    }
    if let Some(digest) = digest {
        statement = statement.bind(digest.to_string());
    }
    let rows = statement.all().await?;
    Ok(with_plans(session, rows).await?.pop())
}

async fn with_plans(session: &mut Session, rows: Vec<Row>) -> Result<Vec<ImageVersion>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut plans = plans(session, &ids).await?;
    let mut waits = waits::of(session, &ids).await?;
    rows.into_iter()
        .map(|row| {
            let digest = row.digest.as_deref();
            let decision = row.decision.as_deref();
            let (platforms, built_at) = (row.platforms, row.built_at);
            let facts = row.told_at.map(|told_at| VersionFacts {
                platforms: platforms
                    .iter()
                    .flat_map(|json| &json.0)
                    .map(ToString::to_string)
                    .collect(),
                built_at,
                artifact: row.artifact.unwrap_or_default(),
                told_at,
            });
            Ok(ImageVersion {
                id: ImageVersionId(row.id),
                repository: row.repository,
                tag: row.tag,
                digest: digest
                    .map(|text| parse("image_versions.digest", text))
                    .transpose()?,
                actor: row.actor,
                pushed_at: row.pushed_at,
                seen_at: row.seen_at,
                delivery_id: row.delivery_id.map(DeliveryId),
                correlation_id: CorrelationId(row.correlation_id),
                replaced_at: row.replaced_at,
                resolve_error: row.resolve_error,
                decision: decision
                    .map(|text| parse("image_plans.decision", text))
                    .transpose()?,
                detail: row.detail,
                policy_id: row.policy_id.map(PolicyId),
                rollout_id: row.rollout_id.map(RolloutId),
                decided_at: row.decided_at,
                plans: plans.remove(&row.id).unwrap_or_default(),
                waits: waits.remove(&row.id).unwrap_or_default(),
                moved: row.kind == PushKind::Moved.as_str(),
                facts,
            })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct PlanRow {
    image_version_id: Uuid,
    position: i64,
    decision: String,
    detail: Option<String>,
    policy_id: Option<Uuid>,
    rollout_id: Option<Uuid>,
    decided_at: DateTime<Utc>,
}

/// What was made of these versions, in the order in which policies were asked.
async fn plans(
    session: &mut Session,
    versions: &[Uuid],
) -> Result<BTreeMap<Uuid, Vec<VersionPlan>>> {
    let mut found: BTreeMap<Uuid, Vec<VersionPlan>> = BTreeMap::new();
    if versions.is_empty() {
        return Ok(found);
    }
    let mut statement = session.built(format!(
        "SELECT image_version_id, position, decision, detail, policy_id, rollout_id, decided_at \
         FROM image_plans WHERE image_version_id IN {} ORDER BY image_version_id, position",
        placeholders(session.kind(), 1, 1, versions.len())
    ));
    for id in versions {
        statement = statement.bind(*id);
    }
    let rows: Vec<PlanRow> = statement.all().await?;
    for row in rows {
        found
            .entry(row.image_version_id)
            .or_default()
            .push(VersionPlan {
                position: row.position,
                decision: parse("image_plans.decision", &row.decision)?,
                detail: row.detail,
                policy_id: row.policy_id.map(PolicyId),
                rollout_id: row.rollout_id.map(RolloutId),
                decided_at: row.decided_at,
            });
    }
    Ok(found)
}
