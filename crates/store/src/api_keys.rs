//! Operators' keys, stored as keyed hashes.

use crate::db::Session;
use crate::error::Result;
use crate::store::Kind;
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::ids::OperatorKeyId;
use windlass_types::operator::OperatorKey;

/// The name of the operator whose key this is; none for a key that is not known or was revoked.
///
/// # Errors
/// Whatever the database says.
pub async fn find(session: &mut Session, hash: &[u8]) -> Result<Option<String>> {
    let found: Option<(String,)> = session
        .sql("SELECT name FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL")
        .bind(hash.to_vec())
        .optional()
        .await?;
    Ok(found.map(|(name,)| name))
}

/// Stores the installation's first key. Returns false where there is one already, also a revoked one,
/// or another program has just stored one.
///
/// # Errors
/// Whatever the database says.
pub async fn create_first(
    session: &mut Session,
    id: Uuid,
    name: &str,
    hash: &[u8],
) -> Result<bool> {
    let now = session.now();
    let made = session
        .sql(
            "INSERT INTO api_keys (id, name, key_hash, created_at) \
             SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM api_keys) \
             ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(name.to_owned())
        .bind(hash.to_vec())
        .bind(now)
        .execute()
        .await?;
    Ok(made == 1)
}

/// Stores another operator's key. Returns false where somebody has, or had, a key of that name: names
/// stand in the audit trail for ever.
///
/// # Errors
/// Whatever the database says.
pub async fn create(session: &mut Session, key: &OperatorKey, hash: &[u8]) -> Result<bool> {
    let made = session
        .sql(
            "INSERT INTO api_keys (id, name, key_hash, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(key.id.0)
        .bind(key.name.clone())
        .bind(hash.to_vec())
        .bind(key.created_at)
        .execute()
        .await?;
    Ok(made == 1)
}

/// All keys in the order of their names, without the keys themselves.
///
/// # Errors
/// Whatever the database says.
pub async fn list(session: &mut Session) -> Result<Vec<OperatorKey>> {
    type Row = (Uuid, String, DateTime<Utc>, Option<DateTime<Utc>>);
    let rows: Vec<Row> = session
        .sql("SELECT id, name, created_at, revoked_at FROM api_keys ORDER BY name")
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(id, name, created_at, revoked_at)| OperatorKey {
            id: OperatorKeyId(id),
            key: None,
            name,
            created_at,
            revoked_at,
        })
        .collect())
}

/// What became of revoking a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// It is useless from now on; whose it was.
    Now(String),
    /// It was useless before.
    Before,
    /// It is the last one; without it nobody could manage anything.
    Last,
    /// There is no such key.
    Unknown,
}

/// Revokes a key. The last live one is kept, unless `another_way` says that there is a key outside
/// the store.
///
/// # Errors
/// Whatever the database says.
pub async fn revoke(
    session: &mut Session,
    id: OperatorKeyId,
    another_way: bool,
) -> Result<Revoked> {
    // Locked all together: two people may revoke each other's at once.
    let lock = match session.kind() {
        Kind::Postgres => " FOR UPDATE",
        Kind::Sqlite => "",
    };
    let keys: Vec<(Uuid, String, Option<DateTime<Utc>>)> = session
        .built(format!(
            "SELECT id, name, revoked_at FROM api_keys ORDER BY id{lock}"
        ))
        .all()
        .await?;
    let Some((_, name, revoked_at)) = keys.iter().find(|(known, ..)| *known == id.0) else {
        return Ok(Revoked::Unknown);
    };
    if revoked_at.is_some() {
        return Ok(Revoked::Before);
    }
    let live = keys.iter().filter(|(_, _, revoked)| revoked.is_none());
    if live.count() == 1 && !another_way {
        return Ok(Revoked::Last);
    }
    let now = session.now();
    session
        .sql("UPDATE api_keys SET revoked_at = $1 WHERE id = $2")
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    Ok(Revoked::Now(name.clone()))
}
