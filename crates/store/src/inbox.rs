//! Looking after deliveries: reading one again, and how endpoints are doing.

use crate::db::Session;
use crate::deliveries::Told;
use crate::error::Result;
use crate::store::Kind;
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::delivery::Refusal;
use windlass_types::ids::{CorrelationId, DeliveryId};

/// A delivery as it is to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The endpoint it came in at.
    pub endpoint: String,
    /// The headers that were kept.
    pub headers: BTreeMap<String, String>,
    /// The body as received; none once the time of retention has passed.
    pub body: Option<Vec<u8>>,
    /// What it was read as before.
    pub told: Vec<Told>,
    /// What ties together everything it caused.
    pub correlation_id: CorrelationId,
    /// When it came in first.
    pub received_at: DateTime<Utc>,
    /// Whether it could not be read before.
    pub rejected: bool,
}

#[derive(sqlx::FromRow)]
struct KeptRow {
    endpoint: String,
    headers: Json<BTreeMap<String, String>>,
    body: Option<Vec<u8>>,
    images: Json<Vec<Told>>,
    correlation_id: Uuid,
    received_at: DateTime<Utc>,
    rejected: bool,
}

/// Takes a delivery to read it again, until the transaction ends: nobody else does at the same time.
///
/// # Errors
/// Whatever the database says.
pub async fn take(session: &mut Session, id: DeliveryId) -> Result<Option<Kept>> {
    let lock = match session.kind() {
        Kind::Postgres => " FOR UPDATE",
        Kind::Sqlite => "",
    };
    let row: Option<KeptRow> = session
        .built(format!(
            "SELECT endpoint, headers, body, images, correlation_id, received_at, \
             rejected IS NOT NULL AS rejected FROM webhook_deliveries WHERE id = $1{lock}"
        ))
        .bind(id.0)
        .optional()
        .await?;
    Ok(row.map(|row| Kept {
        endpoint: row.endpoint,
        headers: row.headers.0,
        body: row.body,
        told: row.images.0,
        correlation_id: CorrelationId(row.correlation_id),
        received_at: row.received_at,
        rejected: row.rejected,
    }))
}

/// Notes that a delivery was read again.
///
/// # Errors
/// Whatever the database says.
pub async fn replayed(session: &mut Session, id: DeliveryId) -> Result<()> {
    let now = session.now();
    session
        .sql("UPDATE webhook_deliveries SET replayed_at = $1 WHERE id = $2")
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    Ok(())
}

/// Deliveries of one endpoint of which the same became.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Became {
    /// The endpoint.
    pub endpoint: String,
    /// What became of them, as stored.
    pub decision: String,
    /// Why they were ignored.
    pub reason_code: Option<String>,
    /// Whether they could not be read.
    pub unread: bool,
    /// How many.
    pub count: i64,
}

/// The endpoints of which deliveries are kept, from each to the next by the index: they are few, however many
/// deliveries there are.
const ENDPOINTS: &str = "WITH RECURSIVE e (endpoint) AS (\
     SELECT MIN(endpoint) FROM webhook_deliveries UNION ALL \
     SELECT (SELECT MIN(d.endpoint) FROM webhook_deliveries d WHERE d.endpoint > e.endpoint) \
     FROM e WHERE e.endpoint IS NOT NULL)";

/// What became of the deliveries received since.
///
/// # Errors
/// Whatever the database says.
pub async fn became(session: &mut Session, since: DateTime<Utc>) -> Result<Vec<Became>> {
    session
        .built(format!(
            "{ENDPOINTS} SELECT d.endpoint, d.decision, d.reason_code, \
             d.rejected IS NOT NULL AS unread, COUNT(*) AS count \
             FROM e JOIN webhook_deliveries d ON d.endpoint = e.endpoint \
             AND d.decision IN ('accepted', 'duplicate', 'ignored') AND d.received_at >= $1 \
             GROUP BY d.endpoint, d.decision, d.reason_code, d.rejected IS NOT NULL \
             ORDER BY d.endpoint, d.decision, d.reason_code"
        ))
        .bind(since)
        .all()
        .await
}

/// For each endpoint when something came last, and when a push was accepted last.
///
/// # Errors
/// Whatever the database says.
pub async fn last_seen(
    session: &mut Session,
) -> Result<Vec<(String, DateTime<Utc>, Option<DateTime<Utc>>)>> {
    type Row = (String, Time, Time, Time);
    type Time = Option<DateTime<Utc>>;
    let last = |decision: &str| {
        format!(
            "(SELECT MAX(d.received_at) FROM webhook_deliveries d \
             WHERE d.endpoint = e.endpoint AND d.decision = '{decision}')"
        )
    };
    let [accepted, duplicate, ignored] = ["accepted", "duplicate", "ignored"].map(last);
    let rows: Vec<Row> = session
        .built(format!(
            "{ENDPOINTS} SELECT e.endpoint, {accepted}, {duplicate}, {ignored} \
             FROM e WHERE e.endpoint IS NOT NULL ORDER BY e.endpoint"
        ))
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(endpoint, accepted, duplicate, ignored)| {
            Some((endpoint, accepted.max(duplicate).max(ignored)?, accepted))
        })
        .collect())
}

/// Adds refusals to those of an endpoint.
///
/// # Errors
/// Whatever the database says.
pub async fn refuse(session: &mut Session, endpoint: &str, refusal: &Refusal) -> Result<()> {
    session
        .sql(
            "INSERT INTO webhook_refusals (endpoint, reason, refused, last_at, detail) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (endpoint, reason) DO UPDATE SET \
             refused = webhook_refusals.refused + excluded.refused, \
             detail = CASE WHEN excluded.last_at >= webhook_refusals.last_at \
                 THEN excluded.detail ELSE webhook_refusals.detail END, \
             last_at = CASE WHEN excluded.last_at >= webhook_refusals.last_at \
                 THEN excluded.last_at ELSE webhook_refusals.last_at END",
        )
        .bind(endpoint.to_owned())
        .bind(refusal.reason.clone())
        .bind(refusal.count)
        .bind(refusal.last_at)
        .bind(refusal.detail.clone())
        .execute()
        .await?;
    Ok(())
}

/// What endpoints refused, each with its endpoint, the last ones first.
///
/// # Errors
/// Whatever the database says.
pub async fn refusals(session: &mut Session) -> Result<Vec<(String, Refusal)>> {
    let rows: Vec<(String, String, i64, DateTime<Utc>, String)> = session
        .sql(
            "SELECT endpoint, reason, refused, last_at, detail FROM webhook_refusals \
             ORDER BY endpoint, last_at DESC, reason",
        )
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(endpoint, reason, count, last_at, detail)| {
            (
                endpoint,
                Refusal {
                    reason,
                    count,
                    last_at,
                    detail,
                },
            )
        })
        .collect())
}
