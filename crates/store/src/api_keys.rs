//! Operators' keys, stored as keyed hashes.

use crate::db::Session;
use crate::error::Result;
use uuid::Uuid;

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
