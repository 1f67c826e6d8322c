//! What the tags of a watched repository named.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use windlass_types::image::{Digest, ImageReference, Repository};

/// Rows of one statement at most.
const CHUNK: usize = 500;

/// A tag as it was seen at its registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What it named last; none where it was only listed.
    pub digest: Option<Digest>,
    /// A digest that it named before and names again, seen once.
    pub doubtful: Option<Digest>,
    /// When the registry said that it is not there any more.
    pub gone_at: Option<DateTime<Utc>>,
}

/// The tags of a repository that were seen.
///
/// # Errors
/// Whatever the database says.
pub async fn known(
    session: &mut Session,
    repository: &Repository,
) -> Result<BTreeMap<String, Known>> {
    type Row = (
        String,
        Option<String>,
        Option<String>,
        Option<DateTime<Utc>>,
    );
    let rows: Vec<Row> = session
        .sql("SELECT tag, digest, doubtful, gone_at FROM watched_tags WHERE repository = $1")
        .bind(repository.to_string())
        .all()
        .await?;
    let digest = |text: Option<String>| {
        text.map(|text| parse("watched_tags.digest", &text))
            .transpose()
    };
    rows.into_iter()
        .map(|(tag, named, doubtful, gone_at)| {
            let known = Known {
                digest: digest(named)?,
                doubtful: digest(doubtful)?,
                gone_at,
            };
            Ok((tag, known))
        })
        .collect()
}

/// Writes down how tags were seen; when they were seen first stays.
///
/// # Errors
/// Whatever the database says.
pub async fn remember(
    session: &mut Session,
    repository: &Repository,
    tags: &BTreeMap<String, Known>,
) -> Result<()> {
    let now = session.now();
    let tags: Vec<(&String, &Known)> = tags.iter().collect();
    for chunk in tags.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO watched_tags \
             (repository, tag, digest, doubtful, gone_at, first_seen, seen_at) VALUES {} \
             ON CONFLICT (repository, tag) DO UPDATE SET digest = excluded.digest, \
             doubtful = excluded.doubtful, gone_at = excluded.gone_at, seen_at = excluded.seen_at",
            placeholders(session.kind(), 1, chunk.len(), 7)
        );
        let mut statement = session.built(sql);
        for (tag, known) in chunk {
            statement = statement
                .bind(repository.to_string())
                .bind((*tag).clone())
                .bind(known.digest.as_ref().map(Digest::to_string))
                .bind(known.doubtful.as_ref().map(Digest::to_string))
                .bind(known.gone_at)
                .bind(now)
                .bind(now);
        }
        statement.execute().await?;
    }
    Ok(())
}

/// The version that a tag names now, as far as pushes were told of or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its digest, once known.
    pub digest: Option<Digest>,
    /// When it was told of first.
    pub seen_at: DateTime<Utc>,
}

/// The present versions of a repository's tags.
///
/// # Errors
/// Whatever the database says.
pub async fn present(
    session: &mut Session,
    repository: &Repository,
) -> Result<BTreeMap<String, Present>> {
    let rows: Vec<(String, Option<String>, DateTime<Utc>)> = session
        .sql(
            "SELECT tag, digest, seen_at FROM image_versions \
             WHERE repository = $1 AND replaced_at IS NULL",
        )
        .bind(repository.to_string())
        .all()
        .await?;
    rows.into_iter()
        .map(|(tag, digest, seen_at)| {
            let digest = digest
                .map(|text| parse("image_versions.digest", &text))
                .transpose()?;
            Ok((tag, Present { digest, seen_at }))
        })
        .collect()
}

/// The tags of a repository that devices are to run.
///
/// # Errors
/// Whatever the database says.
pub async fn running(session: &mut Session, repository: &Repository) -> Result<BTreeSet<String>> {
    let rows: Vec<(String,)> = session
        .sql(
            "SELECT DISTINCT s.image FROM target_services s WHERE s.repository = $1 AND EXISTS \
             (SELECT 1 FROM device_targets d WHERE d.state_id = s.state_id)",
        )
        .bind(repository.to_string())
        .all()
        .await?;
    Ok(rows
        .iter()
        .filter_map(|(image,)| image.parse::<ImageReference>().ok())
        .filter_map(|image| image.tag().map(str::to_owned))
        .collect())
}

/// When a webhook told of a repository last, also of a push that was found before.
///
/// # Errors
/// Whatever the database says.
pub async fn webhook_at(
    session: &mut Session,
    repository: &Repository,
) -> Result<Option<DateTime<Utc>>> {
    let (first, after): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = session
        .sql(
            "SELECT (SELECT MAX(seen_at) FROM image_versions \
             WHERE repository = $1 AND delivery_id IS NOT NULL), \
             (SELECT MAX(told_at) FROM watch_finds WHERE repository = $1)",
        )
        .bind(repository.to_string())
        .one()
        .await?;
    Ok(first.max(after))
}
