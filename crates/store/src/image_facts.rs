//! What registries tell of images beyond their digests: platforms, build date, signatures; and what is
//! still to be asked.

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_core::versions::built_at;
use windlass_types::ids::CorrelationId;
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::{ImageFacts, Platform};
use windlass_types::signature::Signatures;

/// What is known of a digest.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What the registry told; none until it has.
    pub facts: Option<ImageFacts>,
    /// When it told that.
    pub told_at: Option<DateTime<Utc>>,
    /// How often it was asked in vain.
    pub attempts: i64,
    /// Why the last time was in vain.
    pub error: Option<String>,
    /// When it is asked again; none where it is not.
    pub next_ask_at: Option<DateTime<Utc>>,
    /// What was found beside the digest, unverified; none until the registry has told.
    pub signatures: Option<Signatures>,
    /// When the registry told that last.
    pub signatures_at: Option<DateTime<Utc>>,
    /// How often signatures were asked for.
    pub signature_attempts: i64,
    /// Why the last time was in vain.
    pub signature_error: Option<String>,
    /// When they are asked for again; none where they are not.
    pub next_signature_at: Option<DateTime<Utc>>,
    /// Until when they are looked for; none while nobody wants any.
    pub signatures_until: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    platforms: Option<Json<Vec<Platform>>>,
    built_at: Option<DateTime<Utc>>,
    artifact: Option<bool>,
    told_at: Option<DateTime<Utc>>,
    attempts: i64,
    error: Option<String>,
    next_ask_at: Option<DateTime<Utc>>,
    signatures: Option<Json<Signatures>>,
    signatures_at: Option<DateTime<Utc>>,
    signature_attempts: i64,
    signature_error: Option<String>,
    next_signature_at: Option<DateTime<Utc>>,
    signatures_until: Option<DateTime<Utc>>,
}

impl From<Row> for Known {
    fn from(row: Row) -> Self {
        let (platforms, created) = (row.platforms, row.built_at);
        let facts = row.artifact.map(|artifact| ImageFacts {
            platforms: platforms.map(|json| json.0).unwrap_or_default(),
            created,
            artifact,
        });
        Self {
            facts,
            told_at: row.told_at,
            attempts: row.attempts,
            error: row.error,
            next_ask_at: row.next_ask_at,
            signatures: row.signatures.map(|json| json.0),
            signatures_at: row.signatures_at,
            signature_attempts: row.signature_attempts,
            signature_error: row.signature_error,
            next_signature_at: row.next_signature_at,
            signatures_until: row.signatures_until,
        }
    }
}

/// What is known of a digest; none where nobody has wanted to know.
///
/// # Errors
/// Whatever the database says.
pub async fn get(
    session: &mut Session,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<Known>> {
    let row: Option<Row> = session
        .sql(
            "SELECT platforms, built_at, artifact, told_at, attempts, error, next_ask_at, signatures, \
             signatures_at, signature_attempts, signature_error, next_signature_at, signatures_until \
             FROM image_facts WHERE repository = $1 AND digest = $2",
        )
        .bind(repository.to_string())
        .bind(digest.to_string())
        .optional()
        .await?;
    Ok(row.map(Known::from))
}

/// Has a digest's facts asked for, once. With `anew` also where they were asked for in vain before.
///
/// # Errors
/// Whatever the database says.
pub async fn want(
    session: &mut Session,
    repository: &Repository,
    digest: &Digest,
    correlation: CorrelationId,
    anew: bool,
) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "INSERT INTO image_facts (repository, digest, correlation_id, next_ask_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(repository.to_string())
        .bind(digest.to_string())
        .bind(correlation.0)
        .bind(now)
        .execute()
        .await?;
    if anew {
        session
            .sql(
                "UPDATE image_facts SET next_ask_at = $1, attempts = 0 WHERE repository = $2 \
                 AND digest = $3 AND told_at IS NULL AND next_ask_at IS NULL",
            )
            .bind(now)
            .bind(repository.to_string())
            .bind(digest.to_string())
            .execute()
            .await?;
    }
    Ok(())
}

/// Has a digest's signatures asked for, from now on until a time. Does nothing where they are, nor, but
/// with `anew`, where they were. The digest must be wanted ([`want`]).
///
/// # Errors
/// Whatever the database says.
pub async fn want_signatures(
    session: &mut Session,
    repository: &Repository,
    digest: &Digest,
    until: DateTime<Utc>,
    anew: bool,
) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "UPDATE image_facts SET next_signature_at = $1, signatures_until = $2 \
             WHERE repository = $3 AND digest = $4 \
             AND (signatures_until IS NULL OR ($5 AND next_signature_at IS NULL))",
        )
        .bind(now)
        .bind(until)
        .bind(repository.to_string())
        .bind(digest.to_string())
        .bind(anew)
        .execute()
        .await?;
    Ok(())
}

/// Has a digest's signatures asked for at once, whatever was told of them before: somebody waits for them. They are
/// looked for until this time at least. The digest must be wanted ([`want`]).
///
/// # Errors
/// Whatever the database says.
pub async fn hurry_signatures(
    session: &mut Session,
    repository: &Repository,
    digest: &Digest,
    until: DateTime<Utc>,
) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "UPDATE image_facts SET next_signature_at = $1, signatures_until = CASE \
             WHEN signatures_until IS NULL OR signatures_until < $2 THEN $2 ELSE signatures_until END \
             WHERE repository = $3 AND digest = $4",
        )
        .bind(now)
        .bind(until)
        .bind(repository.to_string())
        .bind(digest.to_string())
        .execute()
        .await?;
    Ok(())
}

/// Has nobody look for a digest's signatures any more, unless a version of it still waits.
///
/// # Errors
/// Whatever the database says.
pub async fn stop_signatures(
    session: &mut Session,
    repository: &Repository,
    digest: &Digest,
) -> Result<()> {
    session
        .sql(
            "UPDATE image_facts SET next_signature_at = NULL \
             WHERE repository = $1 AND digest = $2 AND next_signature_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM image_versions v \
               JOIN image_waits w ON w.image_version_id = v.id \
               WHERE v.repository = $1 AND v.digest = $2 AND v.planned_at IS NULL)",
        )
        .bind(repository.to_string())
        .bind(digest.to_string())
        .execute()
        .await?;
    Ok(())
}

/// What a registry is asked of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Its platforms and build date.
    Facts,
    /// Its signatures.
    Signatures,
}

/// A digest of which something is to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub about: About,
    /// The repository.
    pub repository: Repository,
    /// The digest.
    pub digest: Digest,
    /// How often that was asked: facts in vain, signatures at all.
    pub attempts: i64,
    /// Until when signatures are looked for.
    pub until: Option<DateTime<Utc>>,
    /// What ties together everything that comes of it.
    pub correlation_id: CorrelationId,
}

type Taken = (String, String, i64, Option<DateTime<Utc>>, Uuid);

/// Takes up to `limit` questions of each kind that are due and sets their time to `again`, so that no
/// other replica asks them before then.
///
/// # Errors
/// Whatever the database says.
pub async fn take(session: &mut Session, limit: i64, again: DateTime<Utc>) -> Result<Vec<Ask>> {
    let now = session.now();
    let mut asks = Vec::new();
    for (about, sql) in [
        // The condition is repeated outside: on PostgreSQL it is that one which is looked at again after
        // waiting for another replica's row.
        (
            About::Facts,
            "UPDATE image_facts SET next_ask_at = $1 WHERE (repository, digest) IN \
             (SELECT repository, digest FROM image_facts WHERE next_ask_at <= $2 \
             ORDER BY next_ask_at LIMIT CAST($3 AS BIGINT)) AND next_ask_at <= $2 \
             RETURNING repository, digest, attempts, signatures_until, correlation_id",
        ),
        (
            About::Signatures,
            "UPDATE image_facts SET next_signature_at = $1 WHERE (repository, digest) IN \
             (SELECT repository, digest FROM image_facts WHERE next_signature_at <= $2 \
             ORDER BY next_signature_at LIMIT CAST($3 AS BIGINT)) AND next_signature_at <= $2 \
             RETURNING repository, digest, signature_attempts, signatures_until, correlation_id",
        ),
    ] {
        let rows: Vec<Taken> = session
            .sql(sql)
            .bind(again)
            .bind(now)
            .bind(limit)
            .all()
            .await?;
        for (repository, digest, attempts, until, correlation) in rows {
            asks.push(Ask {
                about,
                repository: parse("image_facts.repository", &repository)?,
                digest: parse("image_facts.digest", &digest)?,
                attempts,
                until,
                correlation_id: CorrelationId(correlation),
            });
        }
    }
    Ok(asks)
}

/// When the next question is due, for knowing how long to sleep.
///
/// # Errors
/// Whatever the database says.
pub async fn next_ask(session: &mut Session) -> Result<Option<DateTime<Utc>>> {
    let (facts,): (Option<DateTime<Utc>>,) = session
        .sql("SELECT MIN(next_ask_at) FROM image_facts WHERE next_ask_at IS NOT NULL")
        .one()
        .await?;
    let (signatures,): (Option<DateTime<Utc>>,) = session
        .sql("SELECT MIN(next_signature_at) FROM image_facts WHERE next_signature_at IS NOT NULL")
        .one()
        .await?;
    Ok(match (facts, signatures) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    })
}

/// Notes what a registry told of a digest, and has the versions that wait for it looked at. False where
/// another replica did.
///
/// # Errors
/// Whatever the database says.
pub async fn learn(session: &mut Session, ask: &Ask, facts: &ImageFacts) -> Result<bool> {
    let now = session.now();
    let changed = session
        .sql(
            "UPDATE image_facts SET platforms = $1, built_at = $2, artifact = $3, told_at = $4, \
             next_ask_at = NULL, error = NULL \
             WHERE repository = $5 AND digest = $6 AND told_at IS NULL",
        )
        .bind(Json(facts.platforms.clone()))
        .bind(facts.created)
        .bind(facts.artifact)
        .bind(now)
        .bind(ask.repository.to_string())
        .bind(ask.digest.to_string())
        .execute()
        .await?;
    look_again(session, ask).await?;
    Ok(changed == 1)
}

/// Notes what was found beside a digest, and when it is looked for again; has the versions that wait for
/// it looked at. False where another replica noted this try.
///
/// # Errors
/// Whatever the database says.
pub async fn learn_signatures(
    session: &mut Session,
    ask: &Ask,
    found: &Signatures,
    again: Option<DateTime<Utc>>,
) -> Result<bool> {
    let now = session.now();
    let changed = session
        .sql(
            "UPDATE image_facts SET signatures = $1, signatures_at = $2, signature_error = NULL, \
             signature_attempts = signature_attempts + 1, \
             next_signature_at = CASE WHEN next_signature_at IS NULL THEN NULL ELSE $3 END \
             WHERE repository = $4 AND digest = $5 AND signature_attempts = $6",
        )
        .bind(Json(found.clone()))
        .bind(now)
        .bind(again)
        .bind(ask.repository.to_string())
        .bind(ask.digest.to_string())
        .bind(ask.attempts)
        .execute()
        .await?;
    look_again(session, ask).await?;
    Ok(changed == 1)
}

/// Notes that something was asked in vain, and when it is asked again; the planner looks at the versions
/// that wait for it. False where another replica noted this try.
///
/// # Errors
/// Whatever the database says.
pub async fn in_vain(
    session: &mut Session,
    ask: &Ask,
    error: &str,
    again: Option<DateTime<Utc>>,
) -> Result<bool> {
    let sql = match ask.about {
        About::Facts => {
            "UPDATE image_facts SET attempts = attempts + 1, error = $1, next_ask_at = $2 \
             WHERE repository = $3 AND digest = $4 AND attempts = $5 AND told_at IS NULL"
        }
        About::Signatures => {
            "UPDATE image_facts SET signature_attempts = signature_attempts + 1, \
             signature_error = $1, next_signature_at = $2 \
             WHERE repository = $3 AND digest = $4 AND signature_attempts = $5 \
             AND next_signature_at IS NOT NULL"
        }
    };
    let changed = session
        .sql(sql)
        .bind(error.to_owned())
        .bind(again)
        .bind(ask.repository.to_string())
        .bind(ask.digest.to_string())
        .bind(ask.attempts)
        .execute()
        .await?;
    look_again(session, ask).await?;
    Ok(changed == 1)
}

async fn look_again(session: &mut Session, ask: &Ask) -> Result<()> {
    session
        .sql(
            "UPDATE image_versions SET plan_after = NULL WHERE repository = $1 AND digest = $2 \
             AND planned_at IS NULL AND plan_after IS NOT NULL",
        )
        .bind(ask.repository.to_string())
        .bind(ask.digest.to_string())
        .execute()
        .await?;
    Ok(())
}

/// Forgets up to `limit` digests of which nothing was asked since `before`: those that no tag names since then
/// and that no rollout ships. Who wants to know of one after all has it asked for again. Returns how many.
///
/// # Errors
/// Whatever the database says.
pub async fn expire(session: &mut Session, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    session
        .sql(
            "DELETE FROM image_facts WHERE (repository, digest) IN (SELECT f.repository, f.digest \
             FROM image_facts f WHERE f.next_ask_at IS NULL AND f.next_signature_at IS NULL \
             AND (f.told_at IS NULL OR f.told_at < $1) \
             AND (f.signatures_at IS NULL OR f.signatures_at < $1) \
             AND (f.signatures_until IS NULL OR f.signatures_until < $1) \
             AND NOT EXISTS (SELECT 1 FROM image_versions v WHERE v.repository = f.repository \
               AND v.digest = f.digest AND (v.replaced_at IS NULL OR v.replaced_at >= $1)) \
             AND NOT EXISTS (SELECT 1 FROM image_rollouts r WHERE r.repository = f.repository \
               AND r.digest = f.digest AND (r.status IN ('pending', 'awaiting_approval', 'scheduled', \
               'in_progress', 'paused', 'rolling_back') OR r.created_at >= $1)) \
             ORDER BY f.repository, f.digest LIMIT CAST($2 AS BIGINT))",
        )
        .bind(before)
        .bind(limit)
        .execute()
        .await
}

/// When each digest of a repository was built, for comparing.
///
/// # Errors
/// Whatever the database says.
pub async fn built(
    session: &mut Session,
    repository: &Repository,
) -> Result<BTreeMap<Digest, DateTime<Utc>>> {
    let rows: Vec<(String, Option<DateTime<Utc>>, DateTime<Utc>)> = session
        .sql(
            "SELECT v.digest, f.built_at, MIN(v.seen_at) FROM image_versions v \
             LEFT JOIN image_facts f ON f.repository = v.repository AND f.digest = v.digest \
             WHERE v.repository = $1 AND v.digest IS NOT NULL GROUP BY v.digest, f.built_at",
        )
        .bind(repository.to_string())
        .all()
        .await?;
    rows.into_iter()
        .map(|(digest, created, seen)| {
            let digest = parse("image_versions.digest", &digest)?;
            Ok((digest, built_at(created, seen)))
        })
        .collect()
}

/// Every platform that devices say, or operators say of them, as it is written.
///
/// # Errors
/// Whatever the database says.
pub async fn platforms(session: &mut Session) -> Result<Vec<String>> {
    // From each to the next by the index: there are few, however many devices there are.
    let rows: Vec<(String,)> = session
        .sql(
            "WITH RECURSIVE said (platform) AS (\
               SELECT MIN(platform) FROM devices WHERE platform IS NOT NULL UNION ALL \
               SELECT (SELECT MIN(d.platform) FROM devices d \
                 WHERE d.platform IS NOT NULL AND d.platform > said.platform) \
               FROM said WHERE said.platform IS NOT NULL), \
             tagged (platform) AS (\
               SELECT MIN(value) FROM device_tags WHERE key = 'platform' UNION ALL \
               SELECT (SELECT MIN(g.value) FROM device_tags g \
                 WHERE g.key = 'platform' AND g.value > tagged.platform) \
               FROM tagged WHERE tagged.platform IS NOT NULL) \
             SELECT platform FROM said WHERE platform IS NOT NULL UNION \
             SELECT platform FROM tagged WHERE platform IS NOT NULL ORDER BY 1",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|(platform,)| platform).collect())
}
