//! What registries tell of images beyond their digests: platforms, build date, signatures; and what is
//! still to be asked.

mod asking;
mod forgetting;

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use std::collections::BTreeMap;
use windlass_core::versions::built_at;
use windlass_types::ids::CorrelationId;
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::{ImageFacts, Platform};
use windlass_types::signature::Signatures;

pub use asking::{About, Ask, in_vain, learn, learn_signatures, next_ask, take};
pub use forgetting::{Unused, forget, unused};

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
    /// When the registry was asked for what it told last.
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

/// Which digests have their signatures asked for from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those whose signatures nobody has wanted yet.
    First,
    /// Those too that nobody looks at any more, or only for a rollout by hand ([`hurry_signatures`]).
    Anew,
}

/// Has a digest's signatures asked for, from now on until a time. Does nothing where they are. The digest must be
/// wanted ([`want`]).
///
/// # Errors
/// Whatever the database says.
pub async fn want_signatures(
    session: &mut Session,
    repository: &Repository,
    digest: &Digest,
    until: DateTime<Utc>,
    which: Which,
) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "UPDATE image_facts SET next_signature_at = $1, signatures_until = $2 \
             WHERE repository = $3 AND digest = $4 AND (signatures_until IS NULL \
             OR ($5 AND (next_signature_at IS NULL OR signatures_until <= $1)))",
        )
        .bind(now)
        .bind(until)
        .bind(repository.to_string())
        .bind(digest.to_string())
        .bind(which == Which::Anew)
        .execute()
        .await?;
    Ok(())
}

/// Has a digest's signatures asked for at once, whatever was told of them before: somebody waits for an answer that
/// is younger than this. That of a question that is under way does not count any more. Until when they are looked for
/// stays: once there is an answer, they are looked for again only where a policy wants that. The digest must be wanted
/// ([`want`]).
///
/// # Errors
/// Whatever the database says.
pub async fn hurry_signatures(
    session: &mut Session,
    repository: &Repository,
    digest: &Digest,
) -> Result<()> {
    let now = session.now();
    session
        .sql(
            // Another number than it was, so that who asks now finds that it is not their try any more; and a small
            // one, so that it is tried again soon.
            "UPDATE image_facts SET next_signature_at = $1, signature_error = NULL, \
             signature_attempts = CASE WHEN signature_attempts = 0 THEN 1 ELSE 0 END \
             WHERE repository = $2 AND digest = $3",
        )
        .bind(now)
        .bind(repository.to_string())
        .bind(digest.to_string())
        .execute()
        .await?;
    Ok(())
}

/// Has nobody look for a digest's signatures any more, unless somebody still waits for them: a version of it, a
/// rollout by hand, or a rollout that is paused for want of them.
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
               WHERE v.repository = $1 AND v.digest = $2 AND v.planned_at IS NULL) \
             AND NOT EXISTS (SELECT 1 FROM image_triggers t WHERE t.repository = $1 \
               AND t.digest = $2 AND t.settled_at IS NULL AND t.unsigned = 'asked') \
             AND NOT EXISTS (SELECT 1 FROM image_rollouts r WHERE r.repository = $1 \
               AND COALESCE(r.digest, r.known_digest) = $2 AND r.finished_at IS NULL AND r.status_reason = 'unsigned')",
        )
        .bind(repository.to_string())
        .bind(digest.to_string())
        .execute()
        .await?;
    Ok(())
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
