//! Digests that ship no more.

use crate::db::Session;
use crate::error::Result;
use windlass_types::image::Digest;

/// Whether a digest is in quarantine.
///
/// # Errors
/// Whatever the database says.
pub async fn contains(session: &mut Session, digest: &Digest) -> Result<bool> {
    let found: Option<(String,)> = session
        .sql("SELECT digest FROM quarantined_digests WHERE digest = $1")
        .bind(digest.to_string())
        .optional()
        .await?;
    Ok(found.is_some())
}
