//! Questions to registries, and what came of them.

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::ids::CorrelationId;
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::ImageFacts;
use windlass_types::signature::Signatures;

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
    /// When it was taken: an answer tells how things were then.
    pub taken_at: DateTime<Utc>,
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
                taken_at: now,
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
    let changed = session
        .sql(
            "UPDATE image_facts SET signatures = $1, signatures_at = $2, signature_error = NULL, \
             signature_attempts = signature_attempts + 1, \
             next_signature_at = CASE WHEN next_signature_at IS NULL THEN NULL ELSE $3 END \
             WHERE repository = $4 AND digest = $5 AND signature_attempts = $6",
        )
        .bind(Json(found.clone()))
        .bind(ask.taken_at)
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
