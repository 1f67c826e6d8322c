//! Policies and repositories of which nothing new ships.

use crate::db::Session;
use crate::error::{Result, parse};
use crate::{events, plans};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;
use windlass_types::api::HoldState;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::hold::Hold;
use windlass_types::ids::{HoldId, PolicyId};
use windlass_types::image::Repository;

const COLUMNS: &str = "id, policy_id, repository, reason, ends_at, created_by, created_at, lifted_at, \
     lifted_by, lift_reason";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    policy_id: Option<Uuid>,
    repository: Option<String>,
    reason: String,
    ends_at: Option<DateTime<Utc>>,
    created_by: String,
    created_at: DateTime<Utc>,
    lifted_at: Option<DateTime<Utc>>,
    lifted_by: Option<String>,
    lift_reason: Option<String>,
}

impl TryFrom<Row> for Hold {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        let repository = row.repository.as_deref();
        Ok(Self {
            id: HoldId(row.id),
            policy_id: row.policy_id.map(PolicyId),
            repository: repository
                .map(|text| parse("holds.repository", text))
                .transpose()?,
            reason: row.reason,
            ends_at: row.ends_at,
            created_by: row.created_by,
            created_at: row.created_at,
            lifted_at: row.lifted_at,
            lifted_by: row.lifted_by,
            lift_reason: row.lift_reason,
        })
    }
}

/// What a hold is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A policy.
    Policy(PolicyId),
    /// A repository, whatever policy takes it.
    Repository(Repository),
}

/// A hold to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// Its id.
    pub id: HoldId,
    /// What it is about.
    pub held: Held,
    /// Why.
    pub reason: String,
    /// When it ends; in the future.
    pub ends_at: Option<DateTime<Utc>>,
    /// Who makes it.
    pub actor: String,
}

/// Makes a hold, with its event.
///
/// # Errors
/// Whatever the database says.
pub async fn create(session: &mut Session, hold: &NewHold) -> Result<Hold> {
    let now = session.now();
    let (policy, repository) = match &hold.held {
        Held::Policy(id) => (Some(id.0), None),
        Held::Repository(name) => (None, Some(name.to_string())),
    };
    let row: Row = session
        .built(format!(
            "INSERT INTO holds (id, policy_id, repository, reason, ends_at, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {COLUMNS}"
        ))
        .bind(hold.id.0)
        .bind(policy)
        .bind(repository)
        .bind(hold.reason.clone())
        .bind(hold.ends_at)
        .bind(hold.actor.clone())
        .bind(now)
        .one()
        .await?;
    let made = Hold::try_from(row)?;
    let event = NewEvent::new(EventType::HoldCreated, hold.actor.clone())
        .subject(&made.id)
        .data(json!({
            "policy_id": made.policy_id,
            "repository": made.repository,
            "reason": made.reason,
            "ends_at": made.ends_at,
        }));
    events::append(session, event).await?;
    // What waits for something else is told that it is held, too.
    plans::look_again(session).await?;
    Ok(made)
}

/// A hold by its id.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, id: HoldId) -> Result<Option<Hold>> {
    let row: Option<Row> = session
        .built(format!("SELECT {COLUMNS} FROM holds WHERE id = $1"))
        .bind(id.0)
        .optional()
        .await?;
    row.map(Hold::try_from).transpose()
}

/// The hold in force on a policy or a repository that lasts longest.
///
/// # Errors
/// Whatever the database says.
pub async fn in_force(
    session: &mut Session,
    policy: PolicyId,
    repository: &Repository,
) -> Result<Option<Hold>> {
    let now = session.now();
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM holds WHERE lifted_at IS NULL AND (policy_id = $1 OR repository = $2) \
             AND (ends_at IS NULL OR ends_at > $3) \
             ORDER BY CASE WHEN ends_at IS NULL THEN 0 ELSE 1 END, ends_at DESC, id LIMIT 1"
        ))
        .bind(policy.0)
        .bind(repository.to_string())
        .bind(now)
        .optional()
        .await?;
    row.map(Hold::try_from).transpose()
}

/// Up to `limit` holds made before this one, latest first; with `state` only those that stand so.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    state: Option<HoldState>,
    after: Option<HoldId>,
    limit: i64,
) -> Result<Vec<Hold>> {
    let now = session.now();
    let only = match state {
        None => "",
        Some(HoldState::InForce) => " AND lifted_at IS NULL AND (ends_at IS NULL OR ends_at > $3)",
        Some(HoldState::Past) => {
            " AND (lifted_at IS NOT NULL OR (ends_at IS NOT NULL AND ends_at <= $3))"
        }
    };
    // Ids are UUIDv7, so later ones are higher.
    let mut statement = session
        .built(format!(
            "SELECT {COLUMNS} FROM holds WHERE id < $1{only} ORDER BY id DESC LIMIT CAST($2 AS BIGINT)"
        ))
        .bind(after.map_or(Uuid::max(), |id| id.0))
        .bind(limit);
    if state.is_some() {
        statement = statement.bind(now);
    }
    let rows: Vec<Row> = statement.all().await?;
    rows.into_iter().map(Hold::try_from).collect()
}

/// What became of a hold that was to be lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifted {
    /// It was lifted.
    Done(Hold),
    /// It was over already: lifted before, or ended by itself.
    Over(Hold),
    /// There is no such hold.
    Missing,
}

/// Ends a hold, with its event; what waited for it is looked at.
///
/// # Errors
/// Whatever the database says.
pub async fn lift(session: &mut Session, id: HoldId, actor: &str, reason: &str) -> Result<Lifted> {
    let now = session.now();
    let row: Option<Row> = session
        .built(format!(
            "UPDATE holds SET lifted_at = $1, lifted_by = $2, lift_reason = $3 \
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
            Some(hold) => Lifted::Over(hold),
            None => Lifted::Missing,
        });
    };
    let lifted = Hold::try_from(row)?;
    let event = NewEvent::new(EventType::HoldLifted, actor)
        .subject(&id)
        .data(json!({
            "policy_id": lifted.policy_id,
            "repository": lifted.repository,
            "reason": reason,
            "was_held_for": lifted.reason,
        }));
    events::append(session, event).await?;
    plans::look_again(session).await?;
    Ok(Lifted::Done(lifted))
}
