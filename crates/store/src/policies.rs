//! Policies: which pushed images go to which devices, and how.

use crate::db::Session;
use crate::error::Result;
use crate::{events, plans};
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::PolicyId;
use windlass_types::page::Page;
use windlass_types::policy::{Policy, PolicySpec};

const COLUMNS: &str = "id, version, created_at, updated_at, spec";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    version: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    spec: Json<PolicySpec>,
}

impl From<Row> for Policy {
    fn from(row: Row) -> Self {
        Self {
            id: PolicyId(row.id),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
            spec: row.spec.0,
        }
    }
}

/// What became of a guarded change.
#[derive(Debug, Clone, PartialEq)]
pub enum Changed<T> {
    /// It was made.
    Done(T),
    /// The row has another version by now: this one.
    Stale(i64),
    /// There is no such row.
    Missing,
}

/// Stores a new policy under this id.
///
/// # Errors
/// A unique violation ([`crate::Error::is_unique`]) where the name is taken; then the transaction is
/// to be given up.
pub async fn create(
    session: &mut Session,
    id: PolicyId,
    spec: &PolicySpec,
    actor: &str,
) -> Result<Policy> {
    let now = session.now();
    session
        .sql(
            "INSERT INTO image_update_policies \
             (id, name, enabled, priority, spec, version, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, 1, $6, $7)",
        )
        .bind(id.0)
        .bind(spec.name.clone())
        .bind(spec.enabled)
        .bind(i64::from(spec.priority))
        .bind(Json(spec.clone()))
        .bind(now)
        .bind(now)
        .execute()
        .await?;
    tell(session, EventType::PolicyCreated, id, &spec.name, 1, actor).await?;
    Ok(Policy {
        id,
        version: 1,
        created_at: now,
        updated_at: now,
        spec: spec.clone(),
    })
}

/// A policy by its id.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, id: PolicyId) -> Result<Option<Policy>> {
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM image_update_policies WHERE id = $1"
        ))
        .bind(id.0)
        .optional()
        .await?;
    Ok(row.map(Policy::from))
}

/// A policy by its name.
///
/// # Errors
/// Whatever the database says.
pub async fn by_name(session: &mut Session, name: &str) -> Result<Option<Policy>> {
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM image_update_policies WHERE name = $1"
        ))
        .bind(name.to_owned())
        .optional()
        .await?;
    Ok(row.map(Policy::from))
}

/// Up to `limit` policies after this one, oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    after: Option<PolicyId>,
    limit: i64,
) -> Result<Page<Policy>> {
    let after = after.map_or(Uuid::nil(), |id| id.0);
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM image_update_policies WHERE id > $1 ORDER BY id LIMIT $2"
        ))
        .bind(after)
        .bind(limit.saturating_add(1))
        .all()
        .await?;
    let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    let mut items: Vec<Policy> = rows.into_iter().map(Policy::from).collect();
    if more {
        items.pop();
    }
    let next = more
        .then(|| items.last().map(|policy| policy.id.to_string()))
        .flatten();
    Ok(Page { items, next })
}

/// Every policy, also those that are switched off, in the order in which they are asked: highest
/// priority first, the older first on a tie.
///
/// # Errors
/// Whatever the database says.
pub async fn all(session: &mut Session) -> Result<Vec<Policy>> {
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM image_update_policies ORDER BY priority DESC, created_at, id"
        ))
        .all()
        .await?;
    Ok(rows.into_iter().map(Policy::from).collect())
}

/// The policies that take part, in the order in which they are asked.
///
/// # Errors
/// Whatever the database says.
pub async fn enabled(session: &mut Session) -> Result<Vec<Policy>> {
    let mut policies = all(session).await?;
    policies.retain(|policy| policy.spec.enabled);
    Ok(policies)
}

/// Gives a policy another text. With `expected`, only if its version is still that one. Rollouts
/// that run keep the rule they were made with.
///
/// # Errors
/// A unique violation ([`crate::Error::is_unique`]) where the name is taken; then the transaction is
/// to be given up.
pub async fn update(
    session: &mut Session,
    id: PolicyId,
    expected: Option<i64>,
    spec: &PolicySpec,
    actor: &str,
) -> Result<Changed<Policy>> {
    let now = session.now();
    let row: Option<Row> = session
        .built(format!(
            "UPDATE image_update_policies SET name = $1, enabled = $2, priority = $3, spec = $4, \
             version = version + 1, updated_at = $5 \
             WHERE id = $6 AND version = COALESCE($7, version) RETURNING {COLUMNS}"
        ))
        .bind(spec.name.clone())
        .bind(spec.enabled)
        .bind(i64::from(spec.priority))
        .bind(Json(spec.clone()))
        .bind(now)
        .bind(id.0)
        .bind(expected)
        .optional()
        .await?;
    let Some(row) = row else {
        return not_changed(session, id).await;
    };
    let policy = Policy::from(row);
    let (name, version) = (policy.spec.name.clone(), policy.version);
    tell(session, EventType::PolicyUpdated, id, &name, version, actor).await?;
    Ok(Changed::Done(policy))
}

/// Switches a policy on or off, and says why in the log. With `expected`, only if its version is still
/// that one. Where it stands so already nothing is changed and nothing is told: the second value says
/// which.
///
/// # Errors
/// Whatever the database says.
pub async fn enable(
    session: &mut Session,
    id: PolicyId,
    expected: Option<i64>,
    enabled: bool,
    actor: &str,
    reason: &str,
) -> Result<Changed<(Policy, bool)>> {
    let Some(mut policy) = get(session, id).await? else {
        return Ok(Changed::Missing);
    };
    if expected.is_some_and(|expected| expected != policy.version) {
        return Ok(Changed::Stale(policy.version));
    }
    if policy.spec.enabled == enabled {
        return Ok(Changed::Done((policy, false)));
    }
    policy.spec.enabled = enabled;
    let now = session.now();
    // Of the version that was read: the text is written back whole.
    let row: Option<Row> = session
        .built(format!(
            "UPDATE image_update_policies SET enabled = $1, spec = $2, version = version + 1, \
             updated_at = $3 WHERE id = $4 AND version = $5 RETURNING {COLUMNS}"
        ))
        .bind(enabled)
        .bind(Json(policy.spec.clone()))
        .bind(now)
        .bind(id.0)
        .bind(policy.version)
        .optional()
        .await?;
    let Some(row) = row else {
        return not_changed(session, id).await;
    };
    let policy = Policy::from(row);
    let event = NewEvent::new(EventType::PolicyUpdated, actor)
        .subject(&id)
        .data(json!({
            "name": policy.spec.name,
            "policy_version": policy.version,
            "enabled": enabled,
            "reason": reason,
        }));
    events::append(session, event).await?;
    plans::look_again(session).await?;
    Ok(Changed::Done((policy, true)))
}

/// Deletes a policy. With `expected`, only if its version is still that one. Its rollouts go on.
///
/// # Errors
/// Whatever the database says.
pub async fn delete(
    session: &mut Session,
    id: PolicyId,
    expected: Option<i64>,
    actor: &str,
) -> Result<Changed<()>> {
    let gone: Option<(String, i64)> = session
        .sql(
            "DELETE FROM image_update_policies WHERE id = $1 AND version = COALESCE($2, version) \
             RETURNING name, version",
        )
        .bind(id.0)
        .bind(expected)
        .optional()
        .await?;
    let Some((name, version)) = gone else {
        return not_changed(session, id).await;
    };
    tell(session, EventType::PolicyDeleted, id, &name, version, actor).await?;
    Ok(Changed::Done(()))
}

async fn not_changed<T>(session: &mut Session, id: PolicyId) -> Result<Changed<T>> {
    Ok(match get(session, id).await? {
        Some(policy) => Changed::Stale(policy.version),
        None => Changed::Missing,
    })
}

async fn tell(
    session: &mut Session,
    kind: EventType,
    id: PolicyId,
    name: &str,
    version: i64,
    actor: &str,
) -> Result<()> {
    let event = NewEvent::new(kind, actor)
        .subject(&id)
        .data(json!({"name": name, "policy_version": version}));
    events::append(session, event).await?;
    plans::look_again(session).await?;
    Ok(())
}
