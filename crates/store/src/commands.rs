//! What operators order of rollouts. The API writes commands down; the planner carries them out, and the
//! rollback-manager those that put devices back.

use crate::db::Session;
use crate::error::{Result, parse};
use crate::{events, rollouts};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{CommandId, DeviceId, RolloutId};
use windlass_types::rollout::{Command, CommandKind, CommandOutcome};

const COLUMNS: &str =
    "id, rollout_id, device_uuid, batch, kind, actor, reason, outcome, detail, created_at";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    rollout_id: Uuid,
    device_uuid: Option<Uuid>,
    batch: Option<i64>,
    kind: String,
    actor: String,
    reason: String,
    outcome: String,
    detail: Option<String>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Command {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: CommandId(row.id),
            rollout_id: RolloutId(row.rollout_id),
            device_uuid: row.device_uuid.map(DeviceId),
            batch: row.batch,
            kind: parse("rollout_commands.kind", &row.kind)?,
            actor: row.actor,
            reason: row.reason,
            outcome: parse("rollout_commands.outcome", &row.outcome)?,
            detail: row.detail,
            created_at: row.created_at,
        })
    }
}

/// A command to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    /// Its id.
    pub id: CommandId,
    /// The rollout it is for.
    pub rollout: RolloutId,
    /// The device it is for: given for `rollback_device`, may be given for `retry`.
    pub device: Option<DeviceId>,
    /// The batch it is for: given for `rollback_batch`, may be given for `approve`.
    pub batch: Option<i64>,
    /// What is ordered.
    pub kind: CommandKind,
    /// Who orders it: `operator:<name>`.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// It was written down.
    Written(Command),
    /// The rollout has another version by now: this one. Nothing was written.
    Stale(i64),
    /// Somebody else ordered something of the rollout that is still to be carried out, so that what
    /// was read is no longer what holds. Nothing was written.
    Ordered(Command),
    /// There is no such rollout.
    Missing,
}

/// Writes a command down, with its event; none where there is no such rollout. See [`give`].
///
/// # Errors
/// Whatever the database says.
pub async fn insert(session: &mut Session, command: &NewCommand) -> Result<Option<Command>> {
    match give(session, command, None).await? {
        Given::Written(command) => Ok(Some(command)),
        Given::Stale(_) | Given::Ordered(_) | Given::Missing => Ok(None),
    }
}

/// Writes a command down, with its event. What it means for the rollout is decided by whoever
/// carries it out: pausing a paused rollout ends as `no_change`.
///
/// With `expected` only if the rollout still is as its sender saw it: of that version, and without an
/// order that waits, which will give it another. So of two people who order on what they both read
/// one is told to read again.
///
/// The rollout's row is locked first, so that no batch is admitted between the command's commit
/// and its being seen: a pause that was answered holds.
///
/// # Errors
/// Whatever the database says.
pub async fn give(
    session: &mut Session,
    command: &NewCommand,
    expected: Option<i64>,
) -> Result<Given> {
    let Some(rollout) = rollouts::lock(session, command.rollout).await? else {
        return Ok(Given::Missing);
    };
    if let Some(expected) = expected {
        if rollout.version != expected {
            return Ok(Given::Stale(rollout.version));
        }
        if let Some(first) = pending(session, rollout.id).await?.into_iter().next() {
            return Ok(Given::Ordered(first));
        }
    }
    let now = session.now();
    session
        .sql(
            "INSERT INTO rollout_commands (id, rollout_id, device_uuid, batch, kind, actor, \
             reason, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(command.id.0)
        .bind(command.rollout.0)
        .bind(command.device.map(|id| id.0))
        .bind(command.batch)
        .bind(command.kind.as_str())
        .bind(command.actor.clone())
        .bind(command.reason.clone())
        .bind(now)
        .execute()
        .await?;
    let mut event = NewEvent::new(EventType::CommandGiven, command.actor.clone())
        .rollout(rollout.id, rollout.correlation_id)
        .subject(&command.id)
        .data(json!({
            "command": command.kind,
            "reason": command.reason,
            "batch": command.batch,
        }));
    event.device_uuid = command.device;
    events::append(session, event).await?;
    Ok(Given::Written(Command {
        id: command.id,
        rollout_id: command.rollout,
        device_uuid: command.device,
        batch: command.batch,
        kind: command.kind,
        actor: command.actor.clone(),
        reason: command.reason.clone(),
        outcome: CommandOutcome::Pending,
        detail: None,
        created_at: now,
    }))
}

/// A command by its id.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, id: CommandId) -> Result<Option<Command>> {
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM rollout_commands WHERE id = $1"
        ))
        .bind(id.0)
        .optional()
        .await?;
    row.map(Command::try_from).transpose()
}

/// The commands of a rollout that nobody has carried out yet, oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn pending(session: &mut Session, rollout: RolloutId) -> Result<Vec<Command>> {
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM rollout_commands \
             WHERE rollout_id = $1 AND settled_at IS NULL ORDER BY id"
        ))
        .bind(rollout.0)
        .all()
        .await?;
    rows.into_iter().map(Command::try_from).collect()
}

/// Says what became of a command, with its event. Returns false where it was settled already.
///
/// # Errors
/// Whatever the database says.
pub async fn settle(
    session: &mut Session,
    id: CommandId,
    outcome: CommandOutcome,
    detail: Option<&str>,
    actor: &str,
) -> Result<bool> {
    let now = session.now();
    let row: Option<Row> = session
        .built(format!(
            "UPDATE rollout_commands SET outcome = $1, detail = $2, settled_at = $3 \
             WHERE id = $4 AND settled_at IS NULL RETURNING {COLUMNS}"
        ))
        .bind(outcome.as_str())
        .bind(detail.map(str::to_owned))
        .bind(now)
        .bind(id.0)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(false) };
    let command = Command::try_from(row)?;
    let mut event = NewEvent::new(EventType::CommandSettled, actor)
        .subject(&id)
        .data(json!({
            "command": command.kind,
            "batch": command.batch,
            "outcome": outcome,
            "detail": detail,
            "ordered_by": command.actor,
            "reason": command.reason,
        }));
    event.device_uuid = command.device_uuid;
    if let Some(rollout) = rollouts::get(session, command.rollout_id).await? {
        event = event.rollout(rollout.id, rollout.correlation_id);
    }
    events::append(session, event).await?;
    Ok(true)
}
