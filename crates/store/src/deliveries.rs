//! Webhook deliveries: what registries sent, as it was received, and what became of it.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::images;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::delivery::{
    Decision, Delivery, DeliveryDetail, DeliveryOutcome, Push, ReasonCode,
};
use windlass_types::ids::{CorrelationId, DeliveryId, ImageVersionId};
use windlass_types::image::Repository;

/// A delivery to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// The endpoint it came in at.
    pub endpoint: String,
    /// The sender that was recognised.
    pub sender: String,
    /// The sender's own id for it.
    pub sender_delivery_id: Option<String>,
    /// What is the same for every repetition of it at this endpoint, and for nothing else.
    pub dedupe_key: String,
    /// The headers worth keeping, none with a secret.
    pub headers: BTreeMap<String, String>,
    /// The body as received.
    pub body: Vec<u8>,
    /// What ties together everything it causes.
    pub correlation_id: CorrelationId,
}

/// A push that a delivery told of, and the version that it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The push.
    #[serde(flatten)]
    pub push: Push,
    /// The version it made or repeats.
    pub image_version_id: Option<ImageVersionId>,
}

/// A delivery as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// It, and what was received.
    pub detail: DeliveryDetail,
    /// The versions that it made or repeats.
    pub versions: Vec<ImageVersionId>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    endpoint: String,
    sender: String,
    sender_delivery_id: Option<String>,
    headers: Json<BTreeMap<String, String>>,
    body_bytes: i64,
    body_kept: bool,
    decision: String,
    reason_code: Option<String>,
    images: Json<Vec<Told>>,
    correlation_id: Uuid,
    received_at: DateTime<Utc>,
    received_count: i64,
    rejected: Option<String>,
    replayed_at: Option<DateTime<Utc>>,
}

const COLUMNS: &str = "id, endpoint, sender, sender_delivery_id, headers, body_bytes, \
                       body IS NOT NULL AS body_kept, decision, reason_code, images, correlation_id, \
                       received_at, received_count, rejected, replayed_at";

/// Stores a delivery, or counts its repetition. Returns the id under which it is stored, and whether
/// it is there for the first time; then [`settle`] belongs in the same transaction.
///
/// Of several transactions that bring the same delivery at once, one stores it and the others wait
/// until that one is committed.
///
/// # Errors
/// Whatever the database says.
pub async fn receive(session: &mut Session, new: &NewDelivery) -> Result<(DeliveryId, bool)> {
    let now = session.now();
    let (id, count): (Uuid, i64) = session
        .sql(
            "INSERT INTO webhook_deliveries (id, endpoint, sender, sender_delivery_id, dedupe_key, \
             headers, body, body_bytes, decision, images, correlation_id, received_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'accepted', $9, $10, $11) \
             ON CONFLICT (endpoint, dedupe_key) \
             DO UPDATE SET received_count = webhook_deliveries.received_count + 1 \
             RETURNING id, received_count",
        )
        .bind(new.id.0)
        .bind(new.endpoint.clone())
        .bind(new.sender.clone())
        .bind(new.sender_delivery_id.clone())
        .bind(new.dedupe_key.clone())
        .bind(Json(new.headers.clone()))
        .bind(new.body.clone())
        .bind(i64::try_from(new.body.len()).unwrap_or(i64::MAX))
        .bind(Json(Vec::<Told>::new()))
        .bind(new.correlation_id.0)
        .bind(now)
        .one()
        .await?;
    Ok((DeliveryId(id), count == 1))
}

/// Notes what became of a delivery. A reason is given exactly where it is ignored.
///
/// # Errors
/// Whatever the database says.
pub async fn settle(
    session: &mut Session,
    id: DeliveryId,
    decision: Decision,
    reason: Option<ReasonCode>,
    images: &[Told],
) -> Result<()> {
    session
        .sql(
            "UPDATE webhook_deliveries SET decision = $1, reason_code = $2, images = $3, rejected = NULL \
             WHERE id = $4",
        )
        .bind(decision.as_str())
        .bind(reason.map(ReasonCode::as_str))
        .bind(Json(images.to_vec()))
        .bind(id.0)
        .execute()
        .await?;
    name_repositories(session, id, images).await
}

/// Lets a delivery be found by what it tells of.
async fn name_repositories(session: &mut Session, id: DeliveryId, images: &[Told]) -> Result<()> {
    let names: BTreeSet<String> = images
        .iter()
        .map(|told| format!("{}/{}", told.push.registry, told.push.repository))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let rows = placeholders(session.kind(), 1, names.len(), 2);
    let mut statement = session.built(format!(
        "INSERT INTO webhook_delivery_repositories (repository, delivery_id) VALUES {rows} \
         ON CONFLICT DO NOTHING"
    ));
    for name in names {
        statement = statement.bind(name).bind(id.0);
    }
    statement.execute().await?;
    Ok(())
}

/// Notes that a delivery could not be read, and why.
///
/// # Errors
/// Whatever the database says.
pub async fn reject(session: &mut Session, id: DeliveryId, detail: &str) -> Result<()> {
    session
        .sql(
            "UPDATE webhook_deliveries SET decision = 'ignored', reason_code = $1, rejected = $2 \
             WHERE id = $3",
        )
        .bind(ReasonCode::Malformed.as_str())
        .bind(detail.to_owned())
        .bind(id.0)
        .execute()
        .await?;
    Ok(())
}

/// One delivery, with digests learned since and the rollouts so far.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, id: DeliveryId) -> Result<Option<Stored>> {
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM webhook_deliveries WHERE id = $1"
        ))
        .bind(id.0)
        .optional()
        .await?;
    let found = with_rollouts(session, row.into_iter().collect()).await?;
    Ok(found.into_iter().next())
}

/// Which deliveries; all of what is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// At this endpoint.
    pub endpoint: Option<String>,
    /// From this sender.
    pub sender: Option<String>,
    /// Of which this became.
    pub decision: Option<Decision>,
    /// Ignored for this.
    pub reason: Option<ReasonCode>,
    /// That tell of this repository.
    pub repository: Option<Repository>,
    /// Received at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Received before this time.
    pub until: Option<DateTime<Utc>>,
}

/// Deliveries, the newest first, after one of them.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    search: &Search,
    after: Option<DeliveryId>,
    limit: i64,
) -> Result<Vec<Stored>> {
    let (decision, rejected) = match search.decision {
        None => (None, None),
        Some(Decision::Rejected) => (Some(Decision::Ignored), Some(true)),
        Some(decision) => (Some(decision), Some(false)),
    };
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM webhook_deliveries d WHERE ($1 IS NULL OR endpoint = $1) \
             AND ($2 IS NULL OR decision = $2) AND ($3 IS NULL OR (rejected IS NOT NULL) = $3) \
             AND ($4 IS NULL OR sender = $4) AND ($5 IS NULL OR reason_code = $5) \
             AND ($6 IS NULL OR received_at >= $6) AND ($7 IS NULL OR received_at < $7) \
             AND ($8 IS NULL OR EXISTS (SELECT 1 FROM webhook_delivery_repositories r \
                  WHERE r.repository = $8 AND r.delivery_id = d.id)) \
             AND ($9 IS NULL OR id < $9) ORDER BY id DESC LIMIT CAST($10 AS BIGINT)"
        ))
        .bind(search.endpoint.clone())
        .bind(decision.map(|decision| decision.as_str().to_owned()))
        .bind(rejected)
        .bind(search.sender.clone())
        .bind(search.reason.map(|reason| reason.as_str().to_owned()))
        .bind(search.since)
        .bind(search.until)
        .bind(search.repository.as_ref().map(Repository::to_string))
        .bind(after.map(|id| id.0))
        .bind(limit)
        .all()
        .await?;
    with_rollouts(session, rows).await
}

/// Fills in what changes after a delivery was stored: two statements, however many deliveries.
async fn with_rollouts(session: &mut Session, rows: Vec<Row>) -> Result<Vec<Stored>> {
    let ids: BTreeSet<ImageVersionId> = rows
        .iter()
        .flat_map(|row| row.images.0.iter().filter_map(|told| told.image_version_id))
        .collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let rollouts = images::rollouts_of(session, &ids).await?;
    let digests: BTreeMap<_, _> = images::by_ids(session, &ids)
        .await?
        .into_iter()
        .map(|version| (version.id, version.digest))
        .collect();
    rows.into_iter()
        .map(|row| {
            let mut versions = Vec::new();
            let mut pushes = Vec::with_capacity(row.images.0.len());
            for Told {
                mut push,
                image_version_id,
            } in row.images.0
            {
                if let Some(id) = image_version_id {
                    if push.digest.is_none() {
                        push.digest = digests.get(&id).cloned().flatten();
                    }
                    if !versions.contains(&id) {
                        versions.push(id);
                    }
                }
                pushes.push(push);
            }
            let outcome = DeliveryOutcome {
                delivery_id: DeliveryId(row.id),
                decision: if row.rejected.is_some() {
                    Decision::Rejected
                } else {
                    parse("webhook_deliveries.decision", &row.decision)?
                },
                reason_code: row
                    .reason_code
                    .map(|reason| parse("webhook_deliveries.reason_code", &reason))
                    .transpose()?,
                images: pushes,
                rollouts: versions
                    .iter()
                    .filter_map(|id| rollouts.get(id).cloned())
                    .collect(),
            };
            Ok(Stored {
                detail: DeliveryDetail {
                    delivery: Delivery {
                        endpoint: row.endpoint,
                        sender: row.sender,
                        sender_delivery_id: row.sender_delivery_id,
                        received_at: row.received_at,
                        received_count: row.received_count,
                        detail: row.rejected,
                        replayed_at: row.replayed_at,
                        outcome,
                    },
                    headers: row.headers.0,
                    body_bytes: row.body_bytes,
                    body_kept: row.body_kept,
                    correlation_id: CorrelationId(row.correlation_id),
                },
                versions,
            })
        })
        .collect()
}

/// The body of a delivery as it was received, while it is kept.
///
/// # Errors
/// Whatever the database says.
pub async fn body(session: &mut Session, id: DeliveryId) -> Result<Option<Vec<u8>>> {
    let row: Option<(Option<Vec<u8>>,)> = session
        .sql("SELECT body FROM webhook_deliveries WHERE id = $1")
        .bind(id.0)
        .optional()
        .await?;
    Ok(row.and_then(|(body,)| body))
}

/// What retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expired {
    /// Deliveries that no image version came from: deleted.
    pub deleted: u64,
    /// Deliveries that one came from: they stay, without their body.
    pub emptied: u64,
}

/// Lets up to `limit` of the deliveries go that were received before this.
///
/// # Errors
/// Whatever the database says.
pub async fn expire(session: &mut Session, before: DateTime<Utc>, limit: i64) -> Result<Expired> {
    let deleted = session
        .sql(
            "DELETE FROM webhook_deliveries WHERE id IN (SELECT d.id FROM webhook_deliveries d \
             WHERE d.received_at < $1 AND d.body IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM image_versions v WHERE v.delivery_id = d.id) \
             ORDER BY d.received_at LIMIT CAST($2 AS BIGINT))",
        )
        .bind(before)
        .bind(limit)
        .execute()
        .await?;
    let emptied = session
        .sql(
            "UPDATE webhook_deliveries SET body = NULL WHERE id IN (SELECT d.id \
             FROM webhook_deliveries d WHERE d.received_at < $1 AND d.body IS NOT NULL AND EXISTS \
             (SELECT 1 FROM image_versions v WHERE v.delivery_id = d.id) \
             ORDER BY d.received_at LIMIT CAST($2 AS BIGINT))",
        )
        .bind(before)
        .bind(limit)
        .execute()
        .await?;
    Ok(Expired { deleted, emptied })
}
