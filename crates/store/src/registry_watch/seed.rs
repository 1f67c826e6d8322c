//! What is known of a tag before anybody looked: what something was started from.

use crate::db::Session;
use crate::error::Result;
use windlass_types::image::{Digest, Repository};

/// Writes down that a tag named this digest, where nothing is known of the tag. Returns whether nothing was.
///
/// # Errors
/// Whatever the database says.
pub async fn seed(
    session: &mut Session,
    repository: &Repository,
    tag: &str,
    digest: &Digest,
) -> Result<bool> {
    let now = session.now();
    let name = repository.to_string();
    session
        .sql(
            "INSERT INTO watched_repositories (repository, wanted, added_at, next_look_at) \
             VALUES ($1, FALSE, $2, $2) ON CONFLICT (repository) DO NOTHING",
        )
        .bind(name.clone())
        .bind(now)
        .execute()
        .await?;
    let made = session
        .sql(
            "INSERT INTO watched_tags (repository, tag, digest, first_seen, seen_at) \
             SELECT $1, $2, $3, $4, $4 WHERE NOT EXISTS (SELECT 1 FROM image_versions v \
             WHERE v.repository = $1 AND v.tag = $2) ON CONFLICT (repository, tag) DO NOTHING",
        )
        .bind(name)
        .bind(tag.to_owned())
        .bind(digest.to_string())
        .bind(now)
        .execute()
        .await?;
    Ok(made == 1)
}
