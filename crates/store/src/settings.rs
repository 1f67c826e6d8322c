//! Values made once for an installation and shared by all its programs.

use crate::db::Session;
use crate::error::Result;

/// The value under this key, or this one, which then is stored. Whoever comes first decides.
///
/// # Errors
/// Whatever the database says.
pub async fn get_or_set(session: &mut Session, key: &str, value: &str) -> Result<String> {
    session
        .sql("INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
        .bind(key.to_owned())
        .bind(value.to_owned())
        .execute()
        .await?;
    let (value,): (String,) = session
        .sql("SELECT value FROM settings WHERE key = $1")
        .bind(key.to_owned())
        .one()
        .await?;
    Ok(value)
}
