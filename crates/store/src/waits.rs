//! Policies that take a version and do not ship it yet.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::api::{VersionWait, WaitReason};
use windlass_types::ids::{ImageVersionId, PolicyId};

#[derive(sqlx::FromRow)]
struct Row {
    image_version_id: Uuid,
    policy_id: Uuid,
    reason: String,
    detail: String,
    since: DateTime<Utc>,
    until: Option<DateTime<Utc>>,
}

/// What these versions wait for, by policy.
///
/// # Errors
/// Whatever the database says.
pub async fn of(
    session: &mut Session,
    versions: &[Uuid],
) -> Result<BTreeMap<Uuid, Vec<VersionWait>>> {
    let mut found: BTreeMap<Uuid, Vec<VersionWait>> = BTreeMap::new();
    if versions.is_empty() {
        return Ok(found);
    }
    let mut statement = session.built(format!(
        "SELECT image_version_id, policy_id, reason, detail, since, until FROM image_waits \
         WHERE image_version_id IN {} ORDER BY image_version_id, since, policy_id",
        placeholders(session.kind(), 1, 1, versions.len())
    ));
    for id in versions {
        statement = statement.bind(*id);
    }
    let rows: Vec<Row> = statement.all().await?;
    for row in rows {
        found
            .entry(row.image_version_id)
            .or_default()
            .push(VersionWait {
                policy_id: PolicyId(row.policy_id),
                reason: parse("image_waits.reason", &row.reason)?,
                detail: row.detail,
                since: row.since,
                until: row.until,
            });
    }
    Ok(found)
}

/// A wait as the planner finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The policy.
    pub policy: PolicyId,
    /// What it waits for.
    pub reason: WaitReason,
    /// The same for people.
    pub detail: String,
    /// Until when at the longest.
    pub until: Option<DateTime<Utc>>,
}

/// Makes these the only waits of a version. One for the same reason goes on since when it began. Returns
/// those that are new, or wait for another reason than before.
///
/// # Errors
/// Whatever the database says.
pub async fn set(
    session: &mut Session,
    version: ImageVersionId,
    waiting: &[Waiting],
) -> Result<Vec<Waiting>> {
    let now = session.now();
    let before = of(session, &[version.0]).await?.remove(&version.0);
    let before = before.unwrap_or_default();
    if before.is_empty() && waiting.is_empty() {
        return Ok(Vec::new());
    }
    session
        .sql("DELETE FROM image_waits WHERE image_version_id = $1")
        .bind(version.0)
        .execute()
        .await?;
    let mut new = Vec::new();
    for one in waiting {
        let was = before
            .iter()
            .find(|was| was.policy_id == one.policy && was.reason == one.reason);
        if was.is_none() {
            new.push(one.clone());
        }
        let since = was.map_or(now, |was| was.since);
        session
            .sql(
                "INSERT INTO image_waits (image_version_id, policy_id, reason, detail, since, until) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(version.0)
            .bind(one.policy.0)
            .bind(one.reason.as_str())
            .bind(one.detail.clone())
            .bind(since)
            .bind(one.until)
            .execute()
            .await?;
    }
    Ok(new)
}
