//! Times in which nothing is admitted.

use crate::db::Session;
use crate::error::{Result, parse};
use crate::{admissions, events};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;
use windlass_types::api::FreezeState;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::freeze::{Freeze, FreezeKind};
use windlass_types::ids::FreezeId;

const COLUMNS: &str = "id, kind, reason, starts_at, ends_at, created_by, created_at, lifted_at, \
     lifted_by, lift_reason";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    kind: String,
    reason: String,
    starts_at: DateTime<Utc>,
    ends_at: Option<DateTime<Utc>>,
    created_by: String,
    created_at: DateTime<Utc>,
    lifted_at: Option<DateTime<Utc>>,
    lifted_by: Option<String>,
    lift_reason: Option<String>,
}

impl TryFrom<Row> for Freeze {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: FreezeId(row.id),
            kind: parse("freezes.kind", &row.kind)?,
            reason: row.reason,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            created_by: row.created_by,
            created_at: row.created_at,
            lifted_at: row.lifted_at,
            lifted_by: row.lifted_by,
            lift_reason: row.lift_reason,
        })
    }
}

/// Freezes that were not lifted and have not ended, in force or to come, the earliest first.
///
/// # Errors
/// Whatever the database says.
pub async fn open(session: &mut Session) -> Result<Vec<Freeze>> {
    let now = session.now();
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM freezes \
             WHERE lifted_at IS NULL AND (ends_at IS NULL OR ends_at > $1) ORDER BY starts_at, id"
        ))
        .bind(now)
        .all()
        .await?;
    rows.into_iter().map(Freeze::try_from).collect()
}

/// A freeze to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFreeze {
    /// Its id.
    pub id: FreezeId,
    /// What kind it is.
    pub kind: FreezeKind,
    /// Why.
    pub reason: String,
    /// When it begins.
    pub starts_at: DateTime<Utc>,
    /// When it ends; after its beginning.
    pub ends_at: Option<DateTime<Utc>>,
    /// Who makes it.
    pub actor: String,
}

/// Makes a freeze, with its event. None for a stop where there is one.
///
/// Admissions under way are waited for and those to come wait for it: one that was answered holds. No
/// rollout's row is locked for that, so that it is in nobody's way.
///
/// # Errors
/// Whatever the database says.
pub async fn create(session: &mut Session, freeze: &NewFreeze) -> Result<Option<Freeze>> {
    admissions::shut(session).await?;
    // It is made after that wait: an override ordered meanwhile was not of this one.
    session.refresh().await?;
    let now = session.now();
    let row: Option<Row> = session
        .built(format!(
            "INSERT INTO freezes (id, kind, reason, starts_at, ends_at, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
        ))
        .bind(freeze.id.0)
        .bind(freeze.kind.as_str())
        .bind(freeze.reason.clone())
        .bind(freeze.starts_at)
        .bind(freeze.ends_at)
        .bind(freeze.actor.clone())
        .bind(now)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let made = Freeze::try_from(row)?;
    let event = NewEvent::new(EventType::FreezeCreated, freeze.actor.clone())
        .subject(&made.id)
        .data(json!({
            "kind": made.kind,
            "reason": made.reason,
            "starts_at": made.starts_at,
            "ends_at": made.ends_at,
        }));
    events::append(session, event).await?;
    Ok(Some(made))
}

/// A freeze by its id.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, id: FreezeId) -> Result<Option<Freeze>> {
    let row: Option<Row> = session
        .built(format!("SELECT {COLUMNS} FROM freezes WHERE id = $1"))
        .bind(id.0)
        .optional()
        .await?;
    row.map(Freeze::try_from).transpose()
}

/// Up to `limit` freezes made before this one, latest first; with `state` only those that stand so.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    state: Option<FreezeState>,
    after: Option<FreezeId>,
    limit: i64,
) -> Result<Vec<Freeze>> {
    let now = session.now();
    let only = match state {
        None => "",
        Some(FreezeState::InForce) => {
            " AND lifted_at IS NULL AND starts_at <= $3 AND (ends_at IS NULL OR ends_at > $3)"
        }
        Some(FreezeState::ToCome) => " AND lifted_at IS NULL AND starts_at > $3",
        Some(FreezeState::Past) => {
            " AND (lifted_at IS NOT NULL OR (ends_at IS NOT NULL AND ends_at <= $3))"
        }
    };
    // Ids are UUIDv7, so later ones are higher.
    let mut statement = session
        .built(format!(
            "SELECT {COLUMNS} FROM freezes WHERE id < $1{only} ORDER BY id DESC LIMIT $2"
        ))
        .bind(after.map_or(Uuid::max(), |id| id.0))
        .bind(limit);
    if state.is_some() {
        statement = statement.bind(now);
    }
    let rows: Vec<Row> = statement.all().await?;
    rows.into_iter().map(Freeze::try_from).collect()
}

/// What became of a freeze that was to be lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifted {
    /// It was lifted.
    Done(Freeze),
    /// It was over already: lifted before, or ended by itself.
    Over(Freeze),
    /// There is no such freeze.
    Missing,
}

/// Ends a freeze, or takes back one that is to come, with its event.
///
/// # Errors
/// Whatever the database says.
pub async fn lift(
    session: &mut Session,
    id: FreezeId,
    actor: &str,
    reason: &str,
) -> Result<Lifted> {
    let now = session.now();
    let row: Option<Row> = session
        .built(format!(
            "UPDATE freezes SET lifted_at = $1, lifted_by = $2, lift_reason = $3 \
             WHERE id = $4 AND lifted_at IS NULL AND (ends_at IS NULL OR ends_at > $1) \
             RETURNING {COLUMNS}"
        ))
        .bind(now)
        .bind(actor.to_owned())
        .bind(reason.to_owned())
        .bind(id.0)
        .optional()
        .await?;
    let Some(row) = row else {
        return Ok(match get(session, id).await? {
            Some(freeze) => Lifted::Over(freeze),
            None => Lifted::Missing,
        });
    };
    let lifted = Freeze::try_from(row)?;
    let event = NewEvent::new(EventType::FreezeLifted, actor)
        .subject(&id)
        .data(json!({
            "kind": lifted.kind,
            "reason": reason,
            "was_frozen_for": lifted.reason,
        }));
    events::append(session, event).await?;
    Ok(Lifted::Done(lifted))
}

/// The stop in force; none where nothing is stopped.
///
/// # Errors
/// Whatever the database says.
pub async fn stop_in_force(session: &mut Session) -> Result<Option<Freeze>> {
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM freezes WHERE kind = 'stop' AND lifted_at IS NULL \
             ORDER BY id LIMIT 1"
        ))
        .optional()
        .await?;
    row.map(Freeze::try_from).transpose()
}

/// Stops all rollouts, from now on until that is lifted. Where they are stopped already that stop
/// stays as it is; the second value says whether this one was made. Two at once make one. None where
/// another was lifted at that moment: to be tried again.
///
/// # Errors
/// Whatever the database says.
pub async fn stop(
    session: &mut Session,
    id: FreezeId,
    actor: &str,
    reason: &str,
) -> Result<Option<(Freeze, bool)>> {
    let now = session.now();
    let stop = NewFreeze {
        id,
        kind: FreezeKind::Stop,
        reason: reason.to_owned(),
        starts_at: now,
        ends_at: None,
        actor: actor.to_owned(),
    };
    match create(session, &stop).await? {
        Some(made) => Ok(Some((made, true))),
        // One that was lifted between the two statements: the caller tries again.
        None => Ok(stop_in_force(session).await?.map(|stop| (stop, false))),
    }
}
