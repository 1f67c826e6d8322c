//! Image versions: what each tag named, in the order in which it was seen; and the digests that are
//! still to be learned, of versions and of triggers.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::delivery::{RolloutSummary, SeenVersion};
use windlass_types::ids::{CorrelationId, DeliveryId, ImageVersionId, RolloutId};
use windlass_types::image::{Digest, Repository};

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    repository: String,
    tag: String,
    digest: Option<String>,
    kind: String,
    actor: Option<String>,
    pushed_at: Option<DateTime<Utc>>,
    seen_at: DateTime<Utc>,
    delivery_id: Option<Uuid>,
    correlation_id: Uuid,
    replaced_at: Option<DateTime<Utc>>,
    resolve_attempts: i64,
    resolve_error: Option<String>,
}

const COLUMNS: &str = "id, repository, tag, digest, kind, actor, pushed_at, seen_at, delivery_id, \
                       correlation_id, replaced_at, resolve_attempts, resolve_error";

impl TryFrom<Row> for SeenVersion {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: ImageVersionId(row.id),
            repository: parse("image_versions.repository", &row.repository)?,
            tag: row.tag,
            digest: row
                .digest
                .map(|digest| parse("image_versions.digest", &digest))
                .transpose()?,
            kind: parse("image_versions.kind", &row.kind)?,
            actor: row.actor,
            pushed_at: row.pushed_at,
            seen_at: row.seen_at,
            delivery_id: row.delivery_id.map(DeliveryId),
            correlation_id: CorrelationId(row.correlation_id),
            replaced_at: row.replaced_at,
            resolve_attempts: row.resolve_attempts,
            resolve_error: row.resolve_error,
        })
    }
}

/// The versions of a tag that a push has to be compared with: the present one, and those with the
/// pushed digest.
///
/// # Errors
/// Whatever the database says.
pub async fn comparable(
    session: &mut Session,
    repository: &Repository,
    tag: &str,
    digest: Option<&Digest>,
) -> Result<Vec<SeenVersion>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM image_versions \
         WHERE repository = $1 AND tag = $2 AND (replaced_at IS NULL OR digest = $3) \
         ORDER BY seen_at, id"
    );
    let rows: Vec<Row> = session
        .built(sql)
        .bind(repository.to_string())
        .bind(tag.to_owned())
        .bind(digest.map(Digest::to_string))
        .all()
        .await?;
    rows.into_iter().map(SeenVersion::try_from).collect()
}

/// The versions with these ids, in no order.
///
/// # Errors
/// Whatever the database says.
pub async fn by_ids(session: &mut Session, ids: &[ImageVersionId]) -> Result<Vec<SeenVersion>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM image_versions WHERE id IN {}",
        placeholders(session.kind(), 1, 1, ids.len())
    );
    let mut statement = session.built(sql);
    for id in ids {
        statement = statement.bind(id.0);
    }
    let rows: Vec<Row> = statement.all().await?;
    rows.into_iter().map(SeenVersion::try_from).collect()
}

/// Makes this the version that its tag names, in the place of another. Returns false where another
/// transaction changed the tag first: then the whole transaction is to be given up and tried again.
/// A version without a digest is due to be resolved at once.
///
/// # Errors
/// Whatever the database says.
pub async fn insert(
    session: &mut Session,
    version: &SeenVersion,
    replaces: Option<ImageVersionId>,
) -> Result<bool> {
    let now = session.now();
    if let Some(replaced) = replaces {
        let changed = session
            .sql(
                "UPDATE image_versions SET replaced_at = $1, next_resolve_at = NULL \
                 WHERE id = $2 AND replaced_at IS NULL",
            )
            .bind(now)
            .bind(replaced.0)
            .execute()
            .await?;
        if changed == 0 {
            return Ok(false);
        }
    }
    let made = session
        .sql(
            "INSERT INTO image_versions (id, repository, tag, digest, kind, actor, pushed_at, seen_at, \
             delivery_id, correlation_id, next_resolve_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (repository, tag) WHERE replaced_at IS NULL DO NOTHING",
        )
        .bind(version.id.0)
        .bind(version.repository.to_string())
        .bind(version.tag.clone())
        .bind(version.digest.as_ref().map(Digest::to_string))
        .bind(version.kind.as_str())
        .bind(version.actor.clone())
        .bind(version.pushed_at)
        .bind(version.seen_at)
        .bind(version.delivery_id.map(|id| id.0))
        .bind(version.correlation_id.0)
        .bind(version.digest.is_none().then_some(now))
        .execute()
        .await?;
    Ok(made == 1)
}

/// What became of a version whose digest was learned.
#[derive(Debug, Clone, PartialEq)]
pub enum Learned {
    /// It is there to be shipped.
    Available(Box<SeenVersion>),
    /// The tag named this digest before, and that was planned: the earlier version is the present one
    /// again, and this one is done.
    NothingNew {
        /// This one.
        version: Box<SeenVersion>,
        /// The one that the tag names again.
        present: ImageVersionId,
    },
    /// Somebody else learned it first, or the tag has moved on.
    Gone,
}

/// Gives a version the digest that its registry tells.
///
/// A push without a digest may turn out to be no change at all. The version before then becomes the
/// present one again, but only where its planning is done: one that was replaced before it was planned,
/// or while a policy still waited, would never ship there, so then the new one stays.
///
/// # Errors
/// Whatever the database says.
pub async fn learn(session: &mut Session, id: ImageVersionId, digest: &Digest) -> Result<Learned> {
    let now = session.now();
    let sql = format!(
        "UPDATE image_versions SET digest = $1, next_resolve_at = NULL, resolve_error = NULL \
         WHERE id = $2 AND digest IS NULL AND replaced_at IS NULL RETURNING {COLUMNS}"
    );
    let row: Option<Row> = session
        .built(sql)
        .bind(digest.to_string())
        .bind(id.0)
        .optional()
        .await?;
    let Some(row) = row else {
        return Ok(Learned::Gone);
    };
    let version = SeenVersion::try_from(row)?;
    // Where the tag shipped without waiting for it, its rollout is told what it ships.
    session
        .sql(
            "UPDATE image_rollouts SET known_digest = $1 \
             WHERE image_version_id = $2 AND digest IS NULL",
        )
        .bind(digest.to_string())
        .bind(id.0)
        .execute()
        .await?;
    let before: Option<(Uuid, Option<String>, Option<String>)> = session
        .sql(
            "SELECT v.id, v.digest, (SELECT p.decision FROM image_plans p \
               WHERE p.image_version_id = v.id \
               ORDER BY CASE WHEN p.decision = 'replaced' THEN 0 ELSE 1 END, p.position LIMIT 1) \
             FROM image_versions v \
             WHERE v.repository = $1 AND v.tag = $2 AND v.id <> $3 \
             AND NOT EXISTS (SELECT 1 FROM image_plans own WHERE own.image_version_id = $3) \
             ORDER BY v.replaced_at DESC, v.id DESC LIMIT 1",
        )
        .bind(version.repository.to_string())
        .bind(version.tag.clone())
        .bind(id.0)
        .optional()
        .await?;
    match before {
        Some((before, Some(same), Some(decision)))
            if same == digest.as_str() && decision != "replaced" =>
        {
            for (replaced_at, id) in [(Some(now), id.0), (None, before)] {
                session
                    .sql("UPDATE image_versions SET replaced_at = $1 WHERE id = $2")
                    .bind(replaced_at)
                    .bind(id)
                    .execute()
                    .await?;
            }
            Ok(Learned::NothingNew {
                version: Box::new(version),
                present: ImageVersionId(before),
            })
        }
        _ => Ok(Learned::Available(Box::new(version))),
    }
}

/// Asks for a digest again at once, where asking has failed before and a later time was set: a new
/// push of the tag is a good reason.
///
/// # Errors
/// Whatever the database says.
pub async fn hurry(session: &mut Session, id: ImageVersionId) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "UPDATE image_versions SET next_resolve_at = $1 \
             WHERE id = $2 AND next_resolve_at > $1 AND resolve_attempts > 0",
        )
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    Ok(())
}

/// What a digest is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A pushed version.
    Version(ImageVersionId),
    /// An operator's trigger.
    Trigger(Uuid),
}

/// A tag whose digest is to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What for.
    pub wanted: Wanted,
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: String,
    /// How often it was asked in vain.
    pub attempts: i64,
    /// What ties together everything that comes of it.
    pub correlation_id: CorrelationId,
}

/// Takes up to `limit` questions of each kind that are due and sets their time to `again`, so that no
/// other replica asks them before then.
///
/// # Errors
/// Whatever the database says.
pub async fn take_questions(
    session: &mut Session,
    limit: i64,
    again: DateTime<Utc>,
) -> Result<Vec<Question>> {
    let now = session.now();
    type Taken = (Uuid, String, String, i64, Uuid);
    // The condition is repeated outside: on PostgreSQL it is that one which is looked at again after
    // waiting for another replica's row.
    let versions: Vec<Taken> = session
        .sql(
            "UPDATE image_versions SET next_resolve_at = $1 WHERE id IN (SELECT id FROM image_versions \
             WHERE next_resolve_at <= $2 AND replaced_at IS NULL ORDER BY next_resolve_at LIMIT CAST($3 AS BIGINT)) \
             AND next_resolve_at <= $2 AND replaced_at IS NULL \
             RETURNING id, repository, tag, resolve_attempts, correlation_id",
        )
        .bind(again)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    let triggers: Vec<Taken> = session
        .sql(
            "UPDATE image_triggers SET next_resolve_at = $1 WHERE id IN (SELECT id FROM image_triggers \
             WHERE digest IS NULL AND (settled_at IS NULL OR next_resolve_at IS NOT NULL) \
             AND COALESCE(next_resolve_at, created_at) <= $2 \
             ORDER BY id LIMIT CAST($3 AS BIGINT)) AND digest IS NULL \
             AND (settled_at IS NULL OR next_resolve_at IS NOT NULL) AND COALESCE(next_resolve_at, created_at) <= $2 \
             RETURNING id, repository, tag, resolve_attempts, correlation_id",
        )
        .bind(again)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    let versions = versions
        .into_iter()
        .map(|row| (Wanted::Version(ImageVersionId(row.0)), row));
    let triggers = triggers
        .into_iter()
        .map(|row| (Wanted::Trigger(row.0), row));
    versions
        .chain(triggers)
        .map(|(wanted, (_, repository, tag, attempts, correlation))| {
            Ok(Question {
                wanted,
                repository: parse("repository", &repository)?,
                tag,
                attempts,
                correlation_id: CorrelationId(correlation),
            })
        })
        .collect()
}

/// When the next question is due, for knowing how long to sleep.
///
/// # Errors
/// Whatever the database says.
pub async fn next_question(session: &mut Session) -> Result<Option<DateTime<Utc>>> {
    let (version,): (Option<DateTime<Utc>>,) = session
        .sql("SELECT MIN(next_resolve_at) FROM image_versions WHERE next_resolve_at IS NOT NULL")
        .one()
        .await?;
    let (trigger,): (Option<DateTime<Utc>>,) = session
        .sql(
            "SELECT MIN(COALESCE(next_resolve_at, created_at)) FROM image_triggers \
             WHERE digest IS NULL AND (settled_at IS NULL OR next_resolve_at IS NOT NULL)",
        )
        .one()
        .await?;
    Ok(match (version, trigger) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    })
}

/// Gives a trigger the digest that the registry tells, and its rollout too, where that ships the tag
/// without one; false where it has one or is done with.
///
/// # Errors
/// Whatever the database says.
pub async fn learn_for_trigger(session: &mut Session, id: Uuid, digest: &Digest) -> Result<bool> {
    let changed = session
        .sql(
            "UPDATE image_triggers SET digest = $1, next_resolve_at = NULL, resolve_error = NULL \
             WHERE id = $2 AND digest IS NULL \
             AND (settled_at IS NULL OR next_resolve_at IS NOT NULL)",
        )
        .bind(digest.to_string())
        .bind(id)
        .execute()
        .await?;
    session
        .sql("UPDATE image_rollouts SET known_digest = $1 WHERE trigger_id = $2 AND digest IS NULL")
        .bind(digest.to_string())
        .bind(id)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Notes that a question was asked in vain, and when it is asked again. False where it was answered
/// meanwhile, or another replica noted this try.
///
/// # Errors
/// Whatever the database says.
pub async fn asked_in_vain(
    session: &mut Session,
    question: &Question,
    error: &str,
    again: DateTime<Utc>,
) -> Result<bool> {
    let (statement, id) = match question.wanted {
        Wanted::Version(id) => (
            "UPDATE image_versions SET resolve_attempts = resolve_attempts + 1, resolve_error = $1, \
             next_resolve_at = $2 WHERE id = $3 AND resolve_attempts = $4 AND digest IS NULL \
             AND replaced_at IS NULL",
            id.0,
        ),
        Wanted::Trigger(id) => (
            "UPDATE image_triggers SET resolve_attempts = resolve_attempts + 1, resolve_error = $1, \
             next_resolve_at = $2 WHERE id = $3 AND resolve_attempts = $4 AND digest IS NULL \
             AND (settled_at IS NULL OR next_resolve_at IS NOT NULL)",
            id,
        ),
    };
    let changed = session
        .sql(statement)
        .bind(error.to_owned())
        .bind(again)
        .bind(id)
        .bind(question.attempts)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// How many of these versions the planner has still to decide about: one that was replaced leads to
/// nothing any more.
///
/// # Errors
/// Whatever the database says.
pub async fn undecided(session: &mut Session, ids: &[ImageVersionId]) -> Result<i64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let sql = format!(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM image_versions v WHERE v.id IN {} \
         AND v.replaced_at IS NULL AND NOT EXISTS (SELECT 1 FROM image_plans p WHERE p.image_version_id = v.id) \
         AND NOT EXISTS (SELECT 1 FROM image_waits w WHERE w.image_version_id = v.id)",
        placeholders(session.kind(), 1, 1, ids.len())
    );
    let mut statement = session.built(sql);
    for id in ids {
        statement = statement.bind(id.0);
    }
    let (count,): (i64,) = statement.one().await?;
    Ok(count)
}

/// The rollouts that these versions led to.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_of(
    session: &mut Session,
    ids: &[ImageVersionId],
) -> Result<BTreeMap<ImageVersionId, RolloutSummary>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT image_version_id, id, status, total_devices FROM image_rollouts \
         WHERE image_version_id IN {}",
        placeholders(session.kind(), 1, 1, ids.len())
    );
    let mut statement = session.built(sql);
    for id in ids {
        statement = statement.bind(id.0);
    }
    let rows: Vec<(Uuid, Uuid, String, i64)> = statement.all().await?;
    rows.into_iter()
        .map(|(version, rollout, status, devices)| {
            let summary = RolloutSummary {
                rollout_id: RolloutId(rollout),
                status: parse("image_rollouts.status", &status)?,
                affected_devices: devices,
            };
            Ok((ImageVersionId(version), summary))
        })
        .collect()
}
