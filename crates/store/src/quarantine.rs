//! Digests that ship no more: to all devices, or to those of a class, which have the same value of a
//! tag.

mod lift;

pub use lift::{lift, lift_class};

use crate::admissions;
use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;
use windlass_types::api::QuarantinedDigest;
use windlass_types::ids::RolloutId;
use windlass_types::image::{Digest, Repository};

const COLUMNS: &str =
    "digest, tag_key, tag_value, repository, rollout_id, reason, evidence, created_at";

/// The devices that have the same value of a tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// The tag.
    pub key: String,
    /// Its value; empty for devices without the tag.
    pub value: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    digest: String,
    tag_key: String,
    tag_value: String,
    repository: String,
    rollout_id: Option<Uuid>,
    reason: String,
    evidence: Json<Value>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for QuarantinedDigest {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        let of_class = !row.tag_key.is_empty();
        Ok(Self {
            digest: parse("quarantined_digests.digest", &row.digest)?,
            tag_key: of_class.then_some(row.tag_key),
            tag_value: of_class.then_some(row.tag_value),
            repository: row.repository,
            rollout_id: row.rollout_id.map(RolloutId),
            reason: row.reason,
            evidence: row.evidence.0,
            created_at: row.created_at,
        })
    }
}

/// A condition: this digest (an expression of SQL) is in quarantine for this device, be it for all
/// or for its class.
pub(crate) fn holds(device: &str, digest: &str) -> String {
    condition(device, digest, "q.tag_key = '' OR ")
}

/// A condition: this digest is in quarantine for this device's class.
pub(crate) fn of_class(device: &str, digest: &str) -> String {
    condition(device, digest, "q.tag_key <> '' AND ")
}

fn condition(device: &str, digest: &str, all: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM quarantined_digests q LEFT JOIN device_tags qt \
         ON qt.device_uuid = {device} AND qt.key = q.tag_key \
         WHERE q.digest = {digest} AND ({all}q.tag_value = COALESCE(qt.value, '')))"
    )
}

/// Whether a digest is in quarantine for all devices.
///
/// # Errors
/// Whatever the database says.
pub async fn contains(session: &mut Session, digest: &Digest) -> Result<bool> {
    let found: Option<(String,)> = session
        .sql("SELECT digest FROM quarantined_digests WHERE digest = $1 AND tag_key = ''")
        .bind(digest.to_string())
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Whether a digest is in quarantine for any class of devices.
///
/// # Errors
/// Whatever the database says.
pub(crate) async fn for_classes(session: &mut Session, digest: &Digest) -> Result<bool> {
    let found: Option<(String,)> = session
        .sql("SELECT digest FROM quarantined_digests WHERE digest = $1 AND tag_key <> '' LIMIT 1")
        .bind(digest.to_string())
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Whether anything is in quarantine, for all or for a class.
///
/// # Errors
/// Whatever the database says.
pub async fn any(session: &mut Session) -> Result<bool> {
    let found: Option<(String,)> = session
        .sql("SELECT digest FROM quarantined_digests LIMIT 1")
        .optional()
        .await?;
    Ok(found.is_some())
}

/// Puts a digest into quarantine for all devices. Returns false where it is there already; the first
/// reason stays. The caller appends the event.
///
/// # Errors
/// Whatever the database says.
pub async fn add(
    session: &mut Session,
    digest: &Digest,
    repository: &Repository,
    rollout: Option<RolloutId>,
    reason: &str,
    evidence: Value,
) -> Result<bool> {
    insert(session, digest, None, repository, rollout, reason, evidence).await
}

/// Puts a digest into quarantine for the devices of a class. Returns false where it is there already.
/// The caller appends the event.
///
/// # Errors
/// Whatever the database says.
pub async fn add_for_class(
    session: &mut Session,
    digest: &Digest,
    class: &Class,
    repository: &Repository,
    rollout: RolloutId,
    reason: &str,
    evidence: Value,
) -> Result<bool> {
    let (class, rollout) = (Some(class), Some(rollout));
    insert(
        session, digest, class, repository, rollout, reason, evidence,
    )
    .await
}

async fn insert(
    session: &mut Session,
    digest: &Digest,
    class: Option<&Class>,
    repository: &Repository,
    rollout: Option<RolloutId>,
    reason: &str,
    evidence: Value,
) -> Result<bool> {
    // Else an admission of another rollout that looked before could commit after.
    admissions::shut(session).await?;
    let now = session.now();
    let added = session
        .sql(
            "INSERT INTO quarantined_digests (digest, tag_key, tag_value, repository, rollout_id, \
             reason, evidence, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (digest, tag_key, tag_value) DO NOTHING",
        )
        .bind(digest.to_string())
        .bind(class.map_or_else(String::new, |class| class.key.clone()))
        .bind(class.map_or_else(String::new, |class| class.value.clone()))
        .bind(repository.to_string())
        .bind(rollout.map(|id| id.0))
        .bind(reason.to_owned())
        .bind(Json(evidence))
        .bind(now)
        .execute()
        .await?;
    Ok(added == 1)
}

/// One digest's quarantine for all devices, with its evidence.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, digest: &Digest) -> Result<Option<QuarantinedDigest>> {
    let row: Option<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM quarantined_digests WHERE digest = $1 AND tag_key = ''"
        ))
        .bind(digest.to_string())
        .optional()
        .await?;
    row.map(QuarantinedDigest::try_from).transpose()
}

/// The classes of devices for which a digest is in quarantine, with the evidence.
///
/// # Errors
/// Whatever the database says.
pub async fn classes(session: &mut Session, digest: &Digest) -> Result<Vec<QuarantinedDigest>> {
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM quarantined_digests WHERE digest = $1 AND tag_key <> '' \
             ORDER BY tag_key, tag_value"
        ))
        .bind(digest.to_string())
        .all()
        .await?;
    rows.into_iter().map(QuarantinedDigest::try_from).collect()
}

/// A place in the list: after this one. As text, it is the digest alone, or the digest, the length
/// of the tag's name in bytes, the tag's name and its value: `sha256:…:5:modelpi`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    digest: Digest,
    class: Option<Class>,
}

impl From<&QuarantinedDigest> for Place {
    fn from(row: &QuarantinedDigest) -> Self {
        let class = row.tag_key.clone().map(|key| Class {
            key,
            value: row.tag_value.clone().unwrap_or_default(),
        });
        Self {
            digest: row.digest.clone(),
            class,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.digest)?;
        match &self.class {
            Some(Class { key, value }) => write!(f, ":{}:{key}{value}", key.len()),
            None => Ok(()),
        }
    }
}

/// A text that is no place in the list of digests in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place in the list of digests in quarantine; send `next` of the page before")]
pub struct InvalidPlace(String);

impl FromStr for Place {
    type Err = InvalidPlace;
    fn from_str(text: &str) -> std::result::Result<Self, InvalidPlace> {
        let bad = || InvalidPlace(text.to_owned());
        let mut parts = text.splitn(4, ':');
        let algorithm = parts.next().ok_or_else(bad)?;
        let hex = parts.next().ok_or_else(bad)?;
        let digest = format!("{algorithm}:{hex}").parse().map_err(|_bad| bad())?;
        let class = match (parts.next(), parts.next()) {
            (None, _) => None,
            (Some(_), None) => return Err(bad()),
            (Some(length), Some(rest)) => {
                let length = length.parse().map_err(|_bad| bad())?;
                let (key, value) = rest.split_at_checked(length).ok_or_else(bad)?;
                Some(Class {
                    key: key.to_owned(),
                    value: value.to_owned(),
                })
            }
        };
        Ok(Self { digest, class })
    }
}

/// Up to `limit` digests in quarantine, in the order of their text and then of their classes, after
/// one of them.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    after: Option<&Place>,
    limit: i64,
) -> Result<Vec<QuarantinedDigest>> {
    let class = after.and_then(|place| place.class.clone());
    let rows: Vec<Row> = session
        .built(format!(
            "SELECT {COLUMNS} FROM quarantined_digests \
             WHERE (digest, tag_key, tag_value) > ($1, $2, $3) \
             ORDER BY digest, tag_key, tag_value LIMIT $4"
        ))
        .bind(after.map_or_else(String::new, |place| place.digest.to_string()))
        .bind(class.as_ref().map_or_else(String::new, |c| c.key.clone()))
        .bind(class.map_or_else(String::new, |c| c.value))
        .bind(limit)
        .all()
        .await?;
    rows.into_iter().map(QuarantinedDigest::try_from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_from_its_text() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let class = |key: &str, value: &str| {
            Some(Class {
                key: key.to_owned(),
                value: value.to_owned(),
            })
        };
        for class in [
            None,
            class("model", "pi:4"),
            class("a:b", ""),
            class("größe", "ü"),
        ] {
            let place = Place {
                digest: digest.parse().unwrap_or_else(|_| unreachable!()),
                class,
            };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for wrong in [
            "",
            "sha256",
            "sha256:12",
            &format!("{digest}:"),
            &format!("{digest}:9:key"),
        ] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
