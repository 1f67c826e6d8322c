//! What is still to be planned, and what was made of it: pushed versions, and rollouts by hand.

mod by_hand;
mod passed_over;

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::api::PlanDecision;
use windlass_types::ids::{CorrelationId, DeliveryId, ImageVersionId, PolicyId, RolloutId};
use windlass_types::image::{Digest, Repository};

pub use by_hand::{
    OpenTrigger, open_trigger, open_triggers, settle_trigger, take_trigger, trigger_asks_signatures,
};
pub use passed_over::{PassedOver, passed_over, reopen};

/// A pushed version about which nothing has been decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenVersion {
    /// Its id.
    pub id: ImageVersionId,
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: String,
    /// The digest, once known.
    pub digest: Option<Digest>,
    /// The delivery that told of it.
    pub delivery: Option<DeliveryId>,
    /// What ties its events together.
    pub correlation: CorrelationId,
    /// Whether the tag has moved on to a newer version.
    pub replaced: bool,
    /// How often its registry was asked for the digest in vain.
    pub attempts: i64,
    /// When its tag was first seen to name its digest.
    pub first_seen: DateTime<Utc>,
    /// The one policy that it is planned for anew ([`reopen`]); none where it is for all.
    pub only: Option<PolicyId>,
}

#[derive(sqlx::FromRow)]
struct VersionRow {
    id: Uuid,
    repository: String,
    tag: String,
    digest: Option<String>,
    delivery_id: Option<Uuid>,
    correlation_id: Uuid,
    replaced: bool,
    resolve_attempts: i64,
    first_seen: DateTime<Utc>,
    reopened_for: Option<Uuid>,
}

impl TryFrom<VersionRow> for OpenVersion {
    type Error = crate::Error;
    fn try_from(row: VersionRow) -> Result<Self> {
        Ok(Self {
            id: ImageVersionId(row.id),
            repository: parse("image_versions.repository", &row.repository)?,
            tag: row.tag,
            digest: row
                .digest
                .map(|text| parse("image_versions.digest", &text))
                .transpose()?,
            delivery: row.delivery_id.map(DeliveryId),
            correlation: CorrelationId(row.correlation_id),
            replaced: row.replaced,
            attempts: row.resolve_attempts,
            first_seen: row.first_seen,
            only: row.reopened_for.map(PolicyId),
        })
    }
}

/// When a tag was first seen to name a digest, over the row `v` of `image_versions`: a tag that is moved
/// away and back names no new version.
const FIRST_SEEN: &str = "COALESCE((SELECT MIN(e.seen_at) FROM image_versions e \
     WHERE e.repository = v.repository AND e.tag = v.tag AND e.digest = v.digest), v.seen_at)";

/// Up to `limit` versions after this one that can be planned: their digest is known, or its
/// registry was asked for it at least `attempts` times, or a newer version has replaced them. Those that
/// wait for something else come when that may have changed.
///
/// # Errors
/// Whatever the database says.
pub async fn open_versions(
    session: &mut Session,
    attempts: i64,
    after: Option<ImageVersionId>,
    limit: i64,
) -> Result<Vec<ImageVersionId>> {
    let now = session.now();
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT id FROM image_versions WHERE planned_at IS NULL AND id > $1 AND \
             (digest IS NOT NULL OR replaced_at IS NOT NULL OR resolve_attempts >= $2) \
             AND (plan_after IS NULL OR plan_after <= $4 OR replaced_at IS NOT NULL) \
             ORDER BY id LIMIT CAST($3 AS BIGINT)",
        )
        .bind(after.map_or(Uuid::nil(), |id| id.0))
        .bind(attempts)
        .bind(limit)
        .bind(now)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| ImageVersionId(id)).collect())
}

/// Takes a version for planning: until the transaction ends nobody else plans or replaces it, and
/// with its commit it is planned. None where another replica was first.
///
/// # Errors
/// Whatever the database says; a conflict where another replica was first in a snapshot.
pub async fn take_version(
    session: &mut Session,
    id: ImageVersionId,
) -> Result<Option<OpenVersion>> {
    let now = session.now();
    let taken = session
        .sql(
            "UPDATE image_versions SET planned_at = $1, plan_after = NULL \
             WHERE id = $2 AND planned_at IS NULL",
        )
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    if taken == 0 {
        return Ok(None);
    }
    let row: Option<VersionRow> = session
        .built(format!(
            "SELECT v.id, v.repository, v.tag, v.digest, v.delivery_id, v.correlation_id, \
             v.replaced_at IS NOT NULL AS replaced, v.resolve_attempts, {FIRST_SEEN} AS first_seen, \
             v.reopened_for FROM image_versions v WHERE v.id = $1"
        ))
        .bind(id.0)
        .optional()
        .await?;
    row.map(OpenVersion::try_from).transpose()
}

/// Gives a version taken by [`take_version`] back, because a policy waits: it comes again at this time, or
/// when something changes that it may wait for ([`look_again`]).
///
/// # Errors
/// Whatever the database says.
pub async fn keep_open(session: &mut Session, id: ImageVersionId, at: DateTime<Utc>) -> Result<()> {
    session
        .sql("UPDATE image_versions SET planned_at = NULL, plan_after = $1 WHERE id = $2")
        .bind(at)
        .bind(id.0)
        .execute()
        .await?;
    Ok(())
}

/// Has every version that waits looked at again: a policy or a hold has changed.
///
/// # Errors
/// Whatever the database says.
pub async fn look_again(session: &mut Session) -> Result<()> {
    session
        .sql(
            "UPDATE image_versions SET plan_after = NULL \
             WHERE planned_at IS NULL AND plan_after IS NOT NULL",
        )
        .execute()
        .await?;
    Ok(())
}

/// The policies that have decided about a version, in order, and the next free position.
///
/// # Errors
/// Whatever the database says.
pub async fn decided(
    session: &mut Session,
    id: ImageVersionId,
) -> Result<(Vec<Option<PolicyId>>, i64)> {
    let rows: Vec<(i64, Option<Uuid>)> = session
        .sql(
            "SELECT position, policy_id FROM image_plans WHERE image_version_id = $1 \
             ORDER BY position",
        )
        .bind(id.0)
        .all()
        .await?;
    let next = rows.last().map_or(0, |(position, _)| position + 1);
    let policies = rows.into_iter().map(|(_, policy)| policy.map(PolicyId));
    Ok((policies.collect(), next))
}

/// Another version of a repository that stands beside one that is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its id.
    pub id: ImageVersionId,
    /// The tag.
    pub tag: String,
    /// The digest.
    pub digest: Digest,
    /// When its tag was first seen to name it.
    pub first_seen: DateTime<Utc>,
    /// When it was built, as its configuration says.
    pub created: Option<DateTime<Utc>>,
    /// Whether the policy has not decided about it; else its rollout of it goes on or was completed.
    pub open: bool,
}

/// What tags of a repository name now, beside one version, as far as a policy ships it, has shipped it or
/// has still to decide about it, and it is not in quarantine. What was given up, ended or not shipped does
/// not count.
///
/// # Errors
/// Whatever the database says.
pub async fn others(
    session: &mut Session,
    repository: &Repository,
    policy: PolicyId,
    beside: ImageVersionId,
) -> Result<Vec<Other>> {
    type Found = (
        Uuid,
        String,
        String,
        DateTime<Utc>,
        Option<DateTime<Utc>>,
        bool,
    );
    let rows: Vec<Found> = session
        .built(format!(
            "SELECT * FROM (SELECT v.id, v.tag, v.digest, {FIRST_SEEN} AS first_seen, f.built_at, \
               NOT EXISTS (SELECT 1 FROM image_rollouts r WHERE r.image_version_id = v.id \
                 AND r.policy_id = $1) AS undecided \
             FROM image_versions v LEFT JOIN image_facts f \
               ON f.repository = v.repository AND f.digest = v.digest \
             WHERE v.repository = $2 AND v.id <> $3 AND v.replaced_at IS NULL AND v.digest IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM quarantined_digests q \
               WHERE q.digest = v.digest AND q.tag_key = '') \
             AND ((v.planned_at IS NULL AND COALESCE(v.reopened_for, $1) = $1 \
                 AND NOT EXISTS (SELECT 1 FROM image_plans p \
                 WHERE p.image_version_id = v.id AND p.policy_id = $1)) \
               OR EXISTS (SELECT 1 FROM image_rollouts r WHERE r.image_version_id = v.id \
                 AND r.policy_id = $1 AND r.status IN ('pending', 'awaiting_approval', 'scheduled', \
                   'in_progress', 'paused', 'completed')))) o ORDER BY id"
        ))
        .bind(policy.0)
        .bind(repository.to_string())
        .bind(beside.0)
        .all()
        .await?;
    rows.into_iter()
        .map(|(id, tag, digest, first_seen, created, open)| {
            Ok(Other {
                id: ImageVersionId(id),
                tag,
                digest: parse("image_versions.digest", &digest)?,
                first_seen,
                created,
                open,
            })
        })
        .collect()
}

/// Writes down what the policy at this position, from 0, made of a version taken by [`take_version`].
///
/// # Errors
/// A unique violation where something was made of it already.
pub async fn decide_version(
    session: &mut Session,
    id: ImageVersionId,
    position: i64,
    decision: PlanDecision,
    policy: Option<PolicyId>,
    rollout: Option<RolloutId>,
    detail: Option<&str>,
) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "INSERT INTO image_plans (image_version_id, position, decision, policy_id, rollout_id, \
             detail, decided_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id.0)
        .bind(position)
        .bind(decision.as_str())
        .bind(policy.map(|id| id.0))
        .bind(rollout.map(|id| id.0))
        .bind(detail.map(str::to_owned))
        .bind(now)
        .execute()
        .await?;
    Ok(())
}

/// What a tag named last, as far as is known: the best guess at what it ships where its registry does
/// not tell.
///
/// # Errors
/// Whatever the database says.
pub async fn last_known_digest(
    session: &mut Session,
    repository: &Repository,
    tag: &str,
) -> Result<Option<Digest>> {
    let row: Option<(String,)> = session
        .sql(
            "SELECT digest FROM image_versions WHERE repository = $1 AND tag = $2 \
             AND digest IS NOT NULL ORDER BY seen_at DESC, id DESC LIMIT 1",
        )
        .bind(repository.to_string())
        .bind(tag.to_owned())
        .optional()
        .await?;
    row.map(|(text,)| parse("image_versions.digest", &text))
        .transpose()
}
