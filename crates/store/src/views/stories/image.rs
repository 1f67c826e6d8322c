//! What is known of an image.

use super::rollout_stories;
use crate::db::Session;
use crate::error::{Result, parse};
use crate::policies;
use crate::views::images::latest_version;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::api::{ImageVersion, QuarantinedDigest};
use windlass_types::ids::RolloutId;
use windlass_types::image::{Digest, ImageReference, Repository};
use windlass_types::why::facts::{DeliveryFacts, ImageStory, Quarantine, Resolving};

/// Rollouts told of.
const TOLD: i64 = 5;
/// Repositories looked through for one that is written alike.
const SEEN: i64 = 1000;
/// Latest deliveries looked through for one that names the repository, of the size at most that
/// notifications have.
const DELIVERIES: i64 = 200;
const BODY: i64 = 65_536;

/// What is known of an image: of its tag or digest where they are given, else of the latest version of
/// the repository.
///
/// # Errors
/// Whatever the database says.
pub async fn image_story(session: &mut Session, asked: &ImageReference) -> Result<ImageStory> {
    let repository = asked.repository().clone();
    let (tag, digest) = (asked.tag().map(str::to_owned), asked.digest().cloned());
    let version = latest_version(session, &repository, tag.as_deref(), digest.as_ref()).await?;
    let known = digest
        .clone()
        .or_else(|| version.as_ref().and_then(|version| version.digest.clone()));
    let ids = rollouts_of(session, &repository, tag.as_deref(), known.as_ref()).await?;
    let mut stories = rollout_stories(session, &ids).await?;
    let delivery = match version.as_ref().map(|version| version.delivery_id) {
        Some(Some(id)) => delivery(session, id.0).await?,
        Some(None) => None,
        None => ignored_delivery(session, &repository).await?,
    };
    Ok(ImageStory {
        resolving: resolving(session, version.as_ref()).await?,
        replaced_by: replaced_by(session, version.as_ref()).await?,
        delivery,
        seen: if version.is_none() {
            seen(session).await?
        } else {
            Vec::new()
        },
        quarantine: match &known {
            Some(digest) => quarantine(session, digest).await?,
            None => Vec::new(),
        },
        rollouts: ids.iter().filter_map(|id| stories.remove(id)).collect(),
        policies: policies::all(session).await?,
        repository,
        tag,
        digest,
        version,
    })
}

/// The latest rollouts of an image, latest first.
async fn rollouts_of(
    session: &mut Session,
    repository: &Repository,
    tag: Option<&str>,
    digest: Option<&Digest>,
) -> Result<Vec<RolloutId>> {
    let mut sql = "SELECT id FROM image_rollouts WHERE repository = $1".to_owned();
    // By the digest where it is known: a tag may have moved since.
    match (digest, tag) {
        (Some(_), _) => sql.push_str(" AND COALESCE(digest, known_digest) = $3"),
        (None, Some(_)) => sql.push_str(" AND tag = $3"),
        (None, None) => {}
    }
    sql.push_str(" ORDER BY id DESC LIMIT $2");
    let mut statement = session.built(sql).bind(repository.to_string()).bind(TOLD);
    if let Some(text) = digest.map(Digest::as_str).or(tag) {
        statement = statement.bind(text.to_owned());
    }
    let rows: Vec<(Uuid,)> = statement.all().await?;
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

async fn resolving(
    session: &mut Session,
    version: Option<&ImageVersion>,
) -> Result<Option<Resolving>> {
    let Some(version) = version.filter(|version| version.digest.is_none()) else {
        return Ok(None);
    };
    let row: Option<(i64, Option<DateTime<Utc>>)> = session
        .sql("SELECT resolve_attempts, next_resolve_at FROM image_versions WHERE id = $1")
        .bind(version.id.0)
        .optional()
        .await?;
    Ok(row.map(|(tries, next_at)| Resolving { tries, next_at }))
}

async fn replaced_by(
    session: &mut Session,
    version: Option<&ImageVersion>,
) -> Result<Option<String>> {
    let Some(version) = version.filter(|version| version.replaced_at.is_some()) else {
        return Ok(None);
    };
    let row: Option<(String, Option<String>)> = session
        .sql(
            "SELECT tag, digest FROM image_versions WHERE repository = $1 AND tag = $2 \
             AND replaced_at IS NULL",
        )
        .bind(version.repository.clone())
        .bind(version.tag.clone())
        .optional()
        .await?;
    Ok(row.map(|(tag, digest)| match digest {
        Some(digest) => format!("{}:{tag}@{digest}", version.repository),
        None => format!("{}:{tag}", version.repository),
    }))
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    received_at: DateTime<Utc>,
    received_count: i64,
    sender: String,
    decision: String,
    reason_code: Option<String>,
}

impl TryFrom<DeliveryRow> for DeliveryFacts {
    type Error = crate::Error;
    fn try_from(row: DeliveryRow) -> Result<Self> {
        let reason = row.reason_code.as_deref();
        Ok(Self {
            received_at: row.received_at,
            received_count: row.received_count,
            sender: row.sender,
            decision: parse("webhook_deliveries.decision", &row.decision)?,
            reason: reason
                .map(|text| parse("webhook_deliveries.reason_code", text))
                .transpose()?,
        })
    }
}

async fn delivery(session: &mut Session, id: Uuid) -> Result<Option<DeliveryFacts>> {
    let row: Option<DeliveryRow> = session
        .sql(
            "SELECT received_at, received_count, sender, decision, reason_code \
             FROM webhook_deliveries WHERE id = $1",
        )
        .bind(id)
        .optional()
        .await?;
    row.map(DeliveryFacts::try_from).transpose()
}

/// The last delivery that was left alone and names this repository's path.
async fn ignored_delivery(
    session: &mut Session,
    repository: &Repository,
) -> Result<Option<DeliveryFacts>> {
    let rows: Vec<(Uuid, Vec<u8>)> = session
        .sql(
            "SELECT id, body FROM (SELECT id, body, body_bytes, decision, received_at \
               FROM webhook_deliveries WHERE body IS NOT NULL ORDER BY received_at DESC LIMIT $1) d \
             WHERE decision = 'ignored' AND body_bytes <= $2 ORDER BY received_at DESC",
        )
        .bind(DELIVERIES)
        .bind(BODY)
        .all()
        .await?;
    let path = repository.path();
    let names = |body: &[u8]| {
        let text = String::from_utf8_lossy(body);
        // JSON may write a slash with a backslash before it.
        text.contains(path) || text.replace("\\/", "/").contains(path)
    };
    match rows.iter().find(|(_, body)| names(body)) {
        Some((id, _)) => delivery(session, *id).await,
        None => Ok(None),
    }
}

async fn seen(session: &mut Session) -> Result<Vec<String>> {
    let rows: Vec<(String,)> = session
        .sql("SELECT DISTINCT repository FROM image_versions ORDER BY repository LIMIT $1")
        .bind(SEEN)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(repository,)| repository).collect())
}

#[derive(sqlx::FromRow)]
struct QuarantineRow {
    digest: String,
    tag_key: String,
    tag_value: String,
    repository: String,
    rollout_id: Option<Uuid>,
    reason: String,
    evidence: Json<Value>,
    created_at: DateTime<Utc>,
    tag: Option<String>,
}

async fn quarantine(session: &mut Session, digest: &Digest) -> Result<Vec<Quarantine>> {
    let rows: Vec<QuarantineRow> = session
        .sql(
            "SELECT q.digest, q.tag_key, q.tag_value, q.repository, q.rollout_id, q.reason, \
             q.evidence, q.created_at, r.tag \
             FROM quarantined_digests q LEFT JOIN image_rollouts r ON r.id = q.rollout_id \
             WHERE q.digest = $1 ORDER BY q.tag_key, q.tag_value LIMIT 100",
        )
        .bind(digest.to_string())
        .all()
        .await?;
    rows.into_iter()
        .map(|row| {
            let class = !row.tag_key.is_empty();
            let rollout = row.rollout_id.map(|_| match &row.tag {
                Some(tag) => format!("{}:{tag}", row.repository),
                None => format!("{}@{}", row.repository, row.digest),
            });
            Ok(Quarantine {
                of: QuarantinedDigest {
                    digest: parse("quarantined_digests.digest", &row.digest)?,
                    repository: row.repository,
                    tag_key: class.then_some(row.tag_key),
                    tag_value: class.then_some(row.tag_value),
                    rollout_id: row.rollout_id.map(RolloutId),
                    reason: row.reason,
                    evidence: row.evidence.0,
                    created_at: row.created_at,
                },
                rollout,
            })
        })
        .collect()
}
