//! Which repositories are looked at, and when.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use windlass_types::image::Repository;

/// Rows of one statement at most.
const CHUNK: usize = 500;

/// The repositories that devices are to run images of, and those that pushes were seen of.
///
/// # Errors
/// Whatever the database says.
pub async fn in_use(session: &mut Session) -> Result<BTreeSet<Repository>> {
    let rows: Vec<(String,)> = session
        .sql(
            "SELECT DISTINCT s.repository FROM target_services s WHERE EXISTS \
             (SELECT 1 FROM device_targets d WHERE d.state_id = s.state_id) \
             UNION SELECT DISTINCT repository FROM image_versions",
        )
        .all()
        .await?;
    rows.iter()
        .map(|(text,)| parse("repository", text))
        .collect()
}

/// Makes these the repositories that are looked at, the new ones from the time beside them on. What is
/// known of the others stays, for when they are wanted again. Returns whether anything changed.
///
/// # Errors
/// Whatever the database says.
pub async fn keep(
    session: &mut Session,
    wanted: &BTreeMap<Repository, DateTime<Utc>>,
) -> Result<bool> {
    let now = session.now();
    let rows: Vec<(String,)> = session
        .sql("SELECT repository FROM watched_repositories WHERE wanted")
        .all()
        .await?;
    let before: BTreeSet<String> = rows.into_iter().map(|(text,)| text).collect();
    let after: BTreeMap<String, DateTime<Utc>> = wanted
        .iter()
        .map(|(repository, at)| (repository.to_string(), *at))
        .collect();
    let new: Vec<_> = after
        .iter()
        .filter(|(one, _)| !before.contains(*one))
        .collect();
    let old: Vec<_> = before
        .iter()
        .filter(|one| !after.contains_key(*one))
        .collect();
    for chunk in new.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO watched_repositories (repository, wanted, added_at, next_look_at) VALUES {} \
             ON CONFLICT (repository) DO UPDATE SET wanted = excluded.wanted, \
             next_look_at = excluded.next_look_at WHERE NOT watched_repositories.wanted",
            placeholders(session.kind(), 1, chunk.len(), 4)
        );
        let mut statement = session.built(sql);
        for (repository, at) in chunk {
            statement = statement
                .bind((*repository).clone())
                .bind(true)
                .bind(now)
                .bind(**at);
        }
        statement.execute().await?;
    }
    for chunk in old.chunks(CHUNK) {
        let sql = format!(
            "UPDATE watched_repositories SET wanted = FALSE WHERE repository IN {}",
            placeholders(session.kind(), 1, 1, chunk.len())
        );
        let mut statement = session.built(sql);
        for repository in chunk {
            statement = statement.bind((*repository).clone());
        }
        statement.execute().await?;
    }
    Ok(!new.is_empty() || !old.is_empty())
}

/// When the next look is due.
///
/// # Errors
/// Whatever the database says.
pub async fn next_look(session: &mut Session) -> Result<Option<DateTime<Utc>>> {
    let (at,): (Option<DateTime<Utc>>,) = session
        .sql("SELECT MIN(next_look_at) FROM watched_repositories WHERE wanted")
        .one()
        .await?;
    Ok(at)
}

/// A repository that is this replica's to look at until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The repository.
    pub repository: Repository,
    /// Until when it is ours.
    pub until: DateTime<Utc>,
    /// When its tags were listed first; none where they never were.
    pub listed_at: Option<DateTime<Utc>>,
    /// Looks in a row that came to nothing.
    pub failures: i64,
}

/// Takes up to `limit` repositories that are due, for looking at them until `until`: no other replica
/// does before then.
///
/// # Errors
/// Whatever the database says.
pub async fn claim(
    session: &mut Session,
    limit: i64,
    until: DateTime<Utc>,
) -> Result<Vec<Claimed>> {
    let now = session.now();
    // The condition is repeated outside: on PostgreSQL it is that one which is looked at again after
    // waiting for another replica's row.
    let rows: Vec<(String, Option<DateTime<Utc>>, i64)> = session
        .sql(
            "UPDATE watched_repositories SET next_look_at = $1 WHERE repository IN \
             (SELECT repository FROM watched_repositories WHERE wanted AND next_look_at <= $2 \
             ORDER BY next_look_at LIMIT $3) AND wanted AND next_look_at <= $2 \
             RETURNING repository, listed_at, failures",
        )
        .bind(until)
        .bind(now)
        .bind(limit)
        .all()
        .await?;
    rows.into_iter()
        .map(|(repository, listed_at, failures)| {
            Ok(Claimed {
                repository: parse("watched_repositories.repository", &repository)?,
                until,
                listed_at,
                failures,
            })
        })
        .collect()
}

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// How many tags were listed; none where they were not.
    pub tags: Option<i64>,
    /// Why it was not looked at to the end.
    pub error: Option<String>,
    /// When it is looked at next.
    pub next: DateTime<Utc>,
}

/// Notes what a look came to. False where it took so long that it was somebody else's by then.
///
/// # Errors
/// Whatever the database says.
pub async fn looked(session: &mut Session, claimed: &Claimed, look: &Looked) -> Result<bool> {
    let now = session.now();
    let changed = session
        .sql(
            "UPDATE watched_repositories SET next_look_at = $1, error = $2, \
             failures = CASE WHEN $2 IS NULL THEN 0 ELSE failures + 1 END, \
             looked_at = CASE WHEN $2 IS NULL THEN $3 ELSE looked_at END, \
             tags = COALESCE($4, tags), \
             listed_at = CASE WHEN $4 IS NULL THEN listed_at ELSE COALESCE(listed_at, $3) END \
             WHERE repository = $5 AND next_look_at = $6",
        )
        .bind(look.next)
        .bind(look.error.clone())
        .bind(now)
        .bind(look.tags)
        .bind(claimed.repository.to_string())
        .bind(claimed.until)
        .execute()
        .await?;
    Ok(changed == 1)
}
