//! The event log: appending, and reading without holes. See docs/adr/0002-event-log.md.

use crate::build::Build;
use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::store::{Kind, Store};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::event::{Cursor, Event, EventType, NewEvent};
use windlass_types::ids::{CorrelationId, DeviceId, RolloutId};

/// Rows of one INSERT at most: 500 × 11 parameters stay far below what both databases take.
const CHUNK: usize = 500;

#[derive(sqlx::FromRow)]
struct Row {
    tx: i64,
    seq: i64,
    r#type: String,
    rollout_id: Option<Uuid>,
    device_uuid: Option<Uuid>,
    subject: Option<String>,
    version: Option<i64>,
    data: Json<Value>,
    actor: String,
    occurred_at: DateTime<Utc>,
    correlation_id: Option<Uuid>,
    causation_tx: Option<i64>,
    causation_seq: Option<i64>,
}

const COLUMNS: &str = "tx, seq, type, rollout_id, device_uuid, subject, version, data, actor, \
                       occurred_at, correlation_id, causation_tx, causation_seq";

impl TryFrom<Row> for Event {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: Cursor {
                tx: row.tx,
                seq: row.seq,
            },
            kind: parse("events.type", &row.r#type)?,
            occurred_at: row.occurred_at,
            rollout_id: row.rollout_id.map(RolloutId),
            device_uuid: row.device_uuid.map(DeviceId),
            subject: row.subject,
            version: row.version,
            data: row.data.0,
            actor: row.actor,
            correlation_id: row.correlation_id.map(CorrelationId),
            causation: row
                .causation_tx
                .zip(row.causation_seq)
                .map(|(tx, seq)| Cursor { tx, seq }),
        })
    }
}

/// Appends one event and returns its place.
///
/// # Errors
/// Whatever the database says.
pub async fn append(session: &mut Session, event: NewEvent) -> Result<Cursor> {
    let places = append_all(session, vec![event]).await?;
    Ok(places.first().copied().unwrap_or_default())
}

/// Appends events in this order and returns their places, in the same order.
///
/// # Errors
/// Whatever the database says.
pub async fn append_all(session: &mut Session, events: Vec<NewEvent>) -> Result<Vec<Cursor>> {
    let (kind, now) = (session.kind(), session.now());
    let mut places = Vec::with_capacity(events.len());
    for chunk in events.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO events (type, rollout_id, device_uuid, subject, version, data, actor, \
             occurred_at, correlation_id, causation_tx, causation_seq) VALUES {} RETURNING tx, seq",
            placeholders(kind, 1, chunk.len(), 11)
        );
        let mut statement = session.built(sql);
        for event in chunk {
            statement = statement
                .bind(event.kind.as_str())
                .bind(event.rollout_id.map(|id| id.0))
                .bind(event.device_uuid.map(|id| id.0))
                .bind(event.subject.clone())
                .bind(event.version)
                .bind(Json(event.data.clone()))
                .bind(event.actor.clone())
                .bind(now)
                .bind(event.correlation_id.map(|id| id.0))
                .bind(event.causation.map(|c| c.tx))
                .bind(event.causation.map(|c| c.seq));
        }
        let mut made: Vec<(i64, i64)> = statement.all().await?;
        // Numbers are handed out in the order of the VALUES; RETURNING promises no order.
        made.sort_unstable();
        for (event, (tx, seq)) in chunk.iter().zip(made) {
            let id = Cursor { tx, seq };
            places.push(id);
            session.appended.push(Event {
                id,
                kind: event.kind,
                occurred_at: now,
                rollout_id: event.rollout_id,
                device_uuid: event.device_uuid,
                subject: event.subject.clone(),
                version: event.version,
                data: event.data.clone(),
                actor: event.actor.clone(),
                correlation_id: event.correlation_id,
                causation: event.causation,
            });
        }
    }
    Ok(places)
}

/// Appends the same event for each row (device_uuid, version) of a query, with that device and
/// version filled in: one statement however many devices there are. Returns how many were appended.
///
/// # Errors
/// Whatever the database says.
pub(crate) async fn append_each(
    session: &mut Session,
    event: &NewEvent,
    devices: impl FnOnce(&mut Build),
) -> Result<u64> {
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text(
        "INSERT INTO events (type, rollout_id, device_uuid, subject, version, data, actor, \
         occurred_at, correlation_id, causation_tx, causation_seq) SELECT ",
    )
    .value(event.kind.as_str())
    .text(", ")
    .value(event.rollout_id.map(|id| id.0))
    .text(", q.device_uuid, ")
    .value(event.subject.clone())
    .text(", q.version, ")
    .value(event.data.clone())
    .text(", ")
    .value(event.actor.as_str())
    .text(", ")
    .value(now)
    .text(", ")
    .value(event.correlation_id.map(|id| id.0))
    .text(", ")
    .value(event.causation.map(|cursor| cursor.tx))
    .text(", ")
    .value(event.causation.map(|cursor| cursor.seq))
    .text(" FROM (");
    devices(&mut sql);
    sql.text(") q RETURNING tx, seq, device_uuid, version");
    let mut made: Vec<(i64, i64, Uuid, Option<i64>)> = sql.on(session).all().await?;
    made.sort_unstable();
    session.appended.reserve(made.len());
    for (tx, seq, device, version) in &made {
        session.appended.push(Event {
            id: Cursor { tx: *tx, seq: *seq },
            kind: event.kind,
            occurred_at: now,
            rollout_id: event.rollout_id,
            device_uuid: Some(DeviceId(*device)),
            subject: event.subject.clone(),
            version: *version,
            data: event.data.clone(),
            actor: event.actor.clone(),
            correlation_id: event.correlation_id,
            causation: event.causation,
        });
    }
    Ok(made.len() as u64)
}

/// Up to `limit` settled events after a place, in the order of the log. No event that commits later
/// comes before one returned here.
///
/// # Errors
/// Whatever the database says.
pub async fn after(session: &mut Session, cursor: Cursor, limit: i64) -> Result<Vec<Event>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM settled_events WHERE (tx, seq) > ($1, $2) ORDER BY tx, seq LIMIT CAST($3 AS BIGINT)"
    );
    let rows: Vec<Row> = session
        .built(sql)
        .bind(cursor.tx)
        .bind(cursor.seq)
        .bind(limit)
        .all()
        .await?;
    rows.into_iter().map(Event::try_from).collect()
}

/// Settled events of one rollout after a place.
///
/// # Errors
/// Whatever the database says.
pub async fn of_rollout(
    session: &mut Session,
    rollout: RolloutId,
    cursor: Cursor,
    limit: i64,
) -> Result<Vec<Event>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM settled_events WHERE rollout_id = $1 AND (tx, seq) > ($2, $3) \
         ORDER BY tx, seq LIMIT CAST($4 AS BIGINT)"
    );
    let rows: Vec<Row> = session
        .built(sql)
        .bind(rollout.0)
        .bind(cursor.tx)
        .bind(cursor.seq)
        .bind(limit)
        .all()
        .await?;
    rows.into_iter().map(Event::try_from).collect()
}

/// The place of the last settled event: where a reader begins that wants only what comes.
///
/// # Errors
/// Whatever the database says.
pub async fn head(session: &mut Session) -> Result<Cursor> {
    let last: Option<(i64, i64)> = session
        .sql("SELECT tx, seq FROM settled_events ORDER BY tx DESC, seq DESC LIMIT 1")
        .optional()
        .await?;
    Ok(last.map_or_else(Cursor::default, |(tx, seq)| Cursor { tx, seq }))
}

/// The place of the last committed event, settled or not: a reader that has come this far has seen
/// all that was committed when this was asked.
///
/// # Errors
/// Whatever the database says.
pub async fn newest(session: &mut Session) -> Result<Cursor> {
    let last: Option<(i64, i64)> = session
        .sql("SELECT tx, seq FROM events ORDER BY tx DESC, seq DESC LIMIT 1")
        .optional()
        .await?;
    Ok(last.map_or_else(Cursor::default, |(tx, seq)| Cursor { tx, seq }))
}

/// How old the oldest event is that readers may not see yet, in seconds; 0 where there is none.
///
/// # Errors
/// Whatever the database says.
pub async fn unsettled_seconds(session: &mut Session) -> Result<f64> {
    if session.kind() == Kind::Sqlite {
        return Ok(0.0);
    }
    let (age,): (Option<f64>,) = session
        .sql(
            "SELECT EXTRACT(EPOCH FROM clock_timestamp() - MIN(occurred_at))::float8 FROM events \
             WHERE tx >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
        )
        .one()
        .await?;
    Ok(age.unwrap_or(0.0).max(0.0))
}

/// Where a consumer has read to; at the beginning of the log where it has not read yet.
///
/// # Errors
/// Whatever the database says.
pub async fn cursor(session: &mut Session, consumer: &str) -> Result<Cursor> {
    let place: Option<(i64, i64)> = session
        .sql("SELECT tx, seq FROM event_cursors WHERE consumer = $1")
        .bind(consumer.to_owned())
        .optional()
        .await?;
    Ok(place.map_or_else(Cursor::default, |(tx, seq)| Cursor { tx, seq }))
}

/// Moves a consumer on from where it was read to be. Returns false where another replica moved it
/// first: then the whole transaction is to be given up.
///
/// # Errors
/// Whatever the database says.
pub async fn advance(
    session: &mut Session,
    consumer: &str,
    from: Cursor,
    to: Cursor,
) -> Result<bool> {
    let now = session.now();
    if from == Cursor::default() {
        session
            .sql(
                "INSERT INTO event_cursors (consumer, tx, seq, updated_at) VALUES ($1, 0, 0, $2) \
                 ON CONFLICT (consumer) DO NOTHING",
            )
            .bind(consumer.to_owned())
            .bind(now)
            .execute()
            .await?;
    }
    let moved = session
        .sql(
            "UPDATE event_cursors SET tx = $1, seq = $2, updated_at = $3 \
             WHERE consumer = $4 AND tx = $5 AND seq = $6",
        )
        .bind(to.tx)
        .bind(to.seq)
        .bind(now)
        .bind(consumer.to_owned())
        .bind(from.tx)
        .bind(from.seq)
        .execute()
        .await?;
    Ok(moved == 1)
}

/// Puts events right after a logical restore into a new PostgreSQL cluster, whose transaction ids
/// begin anew: without this, old events would be above the counter and never be seen as settled.
/// Places are kept by `seq`; at least once is kept.
pub(crate) async fn after_restore(store: &Store) -> Result<()> {
    if store.kind() == Kind::Sqlite {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    if !ahead_of_counter(&mut tx).await? {
        return tx.rollback().await;
    }
    // Several programs may start at once; only one repairs. The number is ours alone.
    tx.sql("SELECT pg_advisory_xact_lock(7041001)")
        .execute()
        .await?;
    if !ahead_of_counter(&mut tx).await? {
        return tx.rollback().await;
    }
    tx.sql(
        "UPDATE event_cursors c SET tx = 0, seq = COALESCE((SELECT MIN(e.seq) - 1 FROM events e \
         WHERE (e.tx, e.seq) > (c.tx, c.seq)), (SELECT MAX(e.seq) FROM events e)) \
         WHERE c.tx > 0",
    )
    .execute()
    .await?;
    // Their places mean nothing any more: those budgets are counted once more.
    tx.sql("DELETE FROM counted_budgets").execute().await?;
    tx.sql("UPDATE events SET tx = 0 WHERE tx > 0")
        .execute()
        .await?;
    tx.commit().await?;
    Ok(())
}

/// Whether the log holds transaction ids that this cluster has not handed out yet.
async fn ahead_of_counter(session: &mut Session) -> Result<bool> {
    let (ahead,): (bool,) = session
        .sql(
            "SELECT COALESCE(MAX(tx) >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint, FALSE) \
             FROM events",
        )
        .one()
        .await?;
    Ok(ahead)
}

/// Whether the log holds anything after this place, events that are not settled yet included: a reader that
/// has taken in all that is settled looks again soon then, as the ring for them was the one it has heard.
///
/// # Errors
/// Whatever the database says.
pub async fn any_after(session: &mut Session, from: Cursor) -> Result<bool> {
    let (any,): (bool,) = session
        .sql("SELECT EXISTS (SELECT 1 FROM events WHERE (tx, seq) > ($1, $2))")
        .bind(from.tx)
        .bind(from.seq)
        .one()
        .await?;
    Ok(any)
}

/// Deletes events older than this, for retention; returns how many.
///
/// # Errors
/// Whatever the database says.
pub async fn delete_before(session: &mut Session, before: DateTime<Utc>) -> Result<u64> {
    session
        .sql("DELETE FROM events WHERE occurred_at < $1")
        .bind(before)
        .execute()
        .await
}

/// How often each type of event is in the log, for tests and statistics.
///
/// # Errors
/// Whatever the database says.
pub async fn count_by_type(
    session: &mut Session,
    correlation: CorrelationId,
) -> Result<Vec<(EventType, i64)>> {
    let rows: Vec<(String, i64)> = session
        .sql(
            "SELECT type, COUNT(*) FROM settled_events WHERE correlation_id = $1 GROUP BY type \
             ORDER BY type",
        )
        .bind(correlation.0)
        .all()
        .await?;
    rows.into_iter()
        .map(|(kind, n)| Ok((parse("events.type", &kind)?, n)))
        .collect()
}
