//! Letting go what is known of images that nobody asks about any more.

use crate::build::Build;
use crate::db::Session;
use crate::error::{Result, parse};
use crate::rollouts::images_in_use;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use windlass_types::image::{Digest, ImageReference, Repository};

/// Digests of which nothing has to be known any more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unused {
    /// By repository.
    pub digests: BTreeMap<Repository, Vec<Digest>>,
    /// The last one that was looked at, where there are more after it.
    pub last: Option<(Repository, Digest)>,
}

/// Looks through up to `limit` digests after this one of which nothing was asked since `before`, that no tag names since
/// then and that no rollout ships, for those that no device is to run either: of what runs it has to be known when it
/// was built, for comparing.
///
/// # Errors
/// Whatever the database says.
pub async fn unused(
    session: &mut Session,
    before: DateTime<Utc>,
    after: Option<&(Repository, Digest)>,
    limit: i64,
) -> Result<Unused> {
    let (repository, digest) = after.map_or_else(Default::default, |(repository, digest)| {
        (repository.to_string(), digest.to_string())
    });
    let mut sql = Build::new(session.kind());
    sql.text("SELECT repository, digest FROM image_facts WHERE (repository, digest) > (")
        .value(repository)
        .text(", ")
        .value(digest)
        .text(") AND ");
    idle(&mut sql, before);
    sql.text(" ORDER BY repository, digest LIMIT ").value(limit);
    let rows: Vec<(String, String)> = sql.on(session).all().await?;
    let full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= limit);
    let mut found = Unused::default();
    for (repository, digest) in rows {
        let repository: Repository = parse("image_facts.repository", &repository)?;
        let digest: Digest = parse("image_facts.digest", &digest)?;
        if full {
            found.last = Some((repository.clone(), digest.clone()));
        }
        found.digests.entry(repository).or_default().push(digest);
    }
    // Which images are in use is asked once for each repository, and not for each digest: that would be as often as there
    // are digests through all targets of the repository.
    for (repository, digests) in &mut found.digests {
        let images = images_in_use(session, repository).await?;
        let run: BTreeSet<Digest> = images
            .iter()
            .filter_map(|image| image.parse::<ImageReference>().ok()?.digest().cloned())
            .collect();
        digests.retain(|digest| !run.contains(digest));
    }
    found.digests.retain(|_, digests| !digests.is_empty());
    Ok(found)
}

/// Forgets digests, but for those that somebody asked about in the meantime. Who wants to know of one after all has it
/// asked for again. Returns how many.
///
/// # Errors
/// Whatever the database says.
pub async fn forget(
    session: &mut Session,
    before: DateTime<Utc>,
    digests: &BTreeMap<Repository, Vec<Digest>>,
) -> Result<u64> {
    let mut gone = 0;
    for (repository, digests) in digests.iter().filter(|(_, digests)| !digests.is_empty()) {
        let mut sql = Build::new(session.kind());
        sql.text("DELETE FROM image_facts WHERE repository = ")
            .value(repository.to_string())
            .text(" AND digest IN ")
            .list(digests.iter().map(Digest::to_string))
            .text(" AND ");
        idle(&mut sql, before);
        gone += sql.on(session).execute().await?;
    }
    Ok(gone)
}

/// Whether nothing is asked of a row of `image_facts` and nothing was since, no tag names it since, and no rollout ships it.
fn idle(sql: &mut Build, before: DateTime<Utc>) {
    sql.text("next_ask_at IS NULL AND next_signature_at IS NULL AND (told_at IS NULL OR told_at < ")
        .value(before)
        .text(") AND (signatures_at IS NULL OR signatures_at < ")
        .value(before)
        .text(") AND (signatures_until IS NULL OR signatures_until < ")
        .value(before)
        .text(
            ") AND NOT EXISTS (SELECT 1 FROM image_versions v WHERE v.repository = image_facts.repository \
             AND v.digest = image_facts.digest AND (v.replaced_at IS NULL OR v.replaced_at >= ",
        )
        .value(before)
        .text(
            ")) AND NOT EXISTS (SELECT 1 FROM image_rollouts r WHERE r.repository = image_facts.repository \
             AND COALESCE(r.digest, r.known_digest) = image_facts.digest AND (r.finished_at IS NULL OR r.created_at >= ",
        )
        .value(before)
        .text("))");
}
