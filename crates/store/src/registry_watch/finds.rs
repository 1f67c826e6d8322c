//! What looking found, and whether a webhook should have told of it.

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use windlass_types::ids::ImageVersionId;
use windlass_types::image::Repository;
use windlass_types::registry::WatchedRepository;

/// The endpoint that tells of a repository's pushes: the one that told of it last, else of another
/// repository of its registry. None where no webhook ever came from there.
///
/// # Errors
/// Whatever the database says.
pub async fn expected(session: &mut Session, repository: &Repository) -> Result<Option<String>> {
    let told = "SELECT d.endpoint FROM image_versions v JOIN webhook_deliveries d \
                ON d.id = v.delivery_id WHERE v.delivery_id IS NOT NULL AND";
    let own: Option<(String,)> = session
        .built(format!(
            "{told} v.repository = $1 ORDER BY v.seen_at DESC LIMIT 1"
        ))
        .bind(repository.to_string())
        .optional()
        .await?;
    if let Some((endpoint,)) = own {
        return Ok(Some(endpoint));
    }
    let prefix = format!("{}/", repository.registry());
    let registry: Option<(String,)> = session
        .built(format!(
            "{told} substr(v.repository, 1, length($1)) = $1 ORDER BY v.seen_at DESC LIMIT 1"
        ))
        .bind(prefix)
        .optional()
        .await?;
    Ok(registry.map(|(endpoint,)| endpoint))
}

/// Notes that looking found a version. Where an endpoint should have told of it, that is settled at
/// this time.
///
/// # Errors
/// Whatever the database says.
pub async fn found(
    session: &mut Session,
    version: ImageVersionId,
    repository: &Repository,
    endpoint: Option<&str>,
    settle_at: DateTime<Utc>,
) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "INSERT INTO watch_finds (image_version_id, repository, found_at, endpoint, settle_at) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(version.0)
        .bind(repository.to_string())
        .bind(now)
        .bind(endpoint.map(str::to_owned))
        .bind(endpoint.map(|_| settle_at))
        .execute()
        .await?;
    Ok(())
}

/// Notes that a webhook told of a version, where looking had found it.
///
/// # Errors
/// Whatever the database says.
pub async fn told(session: &mut Session, version: ImageVersionId) -> Result<()> {
    let now = session.now();
    session
        .sql("UPDATE watch_finds SET told_at = $1 WHERE image_version_id = $2 AND told_at IS NULL")
        .bind(now)
        .bind(version.0)
        .execute()
        .await?;
    Ok(())
}

/// When the next find is settled.
///
/// # Errors
/// Whatever the database says.
pub async fn next_settling(session: &mut Session) -> Result<Option<DateTime<Utc>>> {
    let (at,): (Option<DateTime<Utc>>,) = session
        .sql("SELECT MIN(settle_at) FROM watch_finds WHERE settle_at IS NOT NULL")
        .one()
        .await?;
    Ok(at)
}

/// Settles what is due, and returns the repositories of webhooks that were missed, with the endpoint
/// that should have told.
///
/// # Errors
/// Whatever the database says.
pub async fn settle(session: &mut Session) -> Result<Vec<(Repository, String)>> {
    let now = session.now();
    let rows: Vec<(String, Option<String>, bool)> = session
        .sql(
            "UPDATE watch_finds SET settle_at = NULL, missed = (told_at IS NULL) \
             WHERE settle_at IS NOT NULL AND settle_at <= $1 RETURNING repository, endpoint, missed",
        )
        .bind(now)
        .all()
        .await?;
    rows.into_iter()
        .filter(|(_, _, missed)| *missed)
        .map(|(repository, endpoint, _)| {
            Ok((
                parse("watch_finds.repository", &repository)?,
                endpoint.unwrap_or_default(),
            ))
        })
        .collect()
}

/// The webhooks that were missed, by the endpoint that should have told: how many since a time, and when the
/// last one was found, since ever.
///
/// # Errors
/// Whatever the database says.
pub async fn missed(
    session: &mut Session,
    since: DateTime<Utc>,
) -> Result<Vec<(String, i64, DateTime<Utc>)>> {
    session
        .sql(
            "SELECT endpoint, COUNT(CASE WHEN found_at >= $1 THEN 1 END), MAX(found_at) \
             FROM watch_finds WHERE missed AND endpoint IS NOT NULL GROUP BY endpoint ORDER BY endpoint",
        )
        .bind(since)
        .all()
        .await
}

#[derive(sqlx::FromRow)]
struct Row {
    repository: String,
    looked_at: Option<DateTime<Utc>>,
    next_look_at: DateTime<Utc>,
    tags: Option<i64>,
    failures: i64,
    error: Option<String>,
    webhook_at: Option<DateTime<Utc>>,
    told_at: Option<DateTime<Utc>>,
    found: i64,
    missed: i64,
    missed_at: Option<DateTime<Utc>>,
    missed_by: Option<String>,
}

/// Up to `limit` repositories that are looked at, after this one, in order.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<WatchedRepository>> {
    let rows: Vec<Row> = session
        .sql(
            "SELECT w.repository, w.looked_at, w.next_look_at, w.tags, w.failures, w.error, \
             (SELECT MAX(v.seen_at) FROM image_versions v WHERE v.repository = w.repository \
             AND v.delivery_id IS NOT NULL) AS webhook_at, \
             (SELECT MAX(f.told_at) FROM watch_finds f WHERE f.repository = w.repository) AS told_at, \
             (SELECT CAST(COUNT(*) AS BIGINT) FROM watch_finds f \
             WHERE f.repository = w.repository) AS found, \
             (SELECT CAST(COUNT(*) AS BIGINT) FROM watch_finds f \
             WHERE f.repository = w.repository AND f.missed) AS missed, \
             (SELECT MAX(f.found_at) FROM watch_finds f \
             WHERE f.repository = w.repository AND f.missed) AS missed_at, \
             (SELECT f.endpoint FROM watch_finds f WHERE f.repository = w.repository AND f.missed \
             ORDER BY f.found_at DESC LIMIT 1) AS missed_by \
             FROM watched_repositories w WHERE w.wanted AND w.repository > $1 \
             ORDER BY w.repository LIMIT $2",
        )
        .bind(after.unwrap_or_default().to_owned())
        .bind(limit)
        .all()
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(WatchedRepository {
                repository: parse("watched_repositories.repository", &row.repository)?,
                looked_at: row.looked_at,
                next_look_at: row.next_look_at,
                tags: row.tags,
                failures: row.failures,
                error: row.error,
                webhook_at: row.webhook_at.max(row.told_at),
                found: row.found,
                missed: row.missed,
                missed_at: row.missed_at,
                missed_by: row.missed_by,
            })
        })
        .collect()
}
