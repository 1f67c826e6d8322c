//! What is still to be planned, and what was made of it: pushed versions, and rollouts by hand.

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;
use windlass_types::api::{PlanDecision, TriggerDecision};
use windlass_types::ids::{
    CorrelationId, DeliveryId, DeviceId, ImageVersionId, PlanId, PolicyId, RolloutId, TriggerId,
};
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::{Filters, OnUnresolved, RolloutRule};

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
             v.replaced_at IS NOT NULL AS replaced, v.resolve_attempts, {FIRST_SEEN} AS first_seen \
             FROM image_versions v WHERE v.id = $1"
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

/// A pushed version of which nothing was made, because there was no policy or no device for it at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its id.
    pub id: ImageVersionId,
    /// The tag.
    pub tag: String,
    /// The digest.
    pub digest: Digest,
}

/// What the tags of a repository name now and was passed over, before this policy or the target of this device
/// became what it is.
///
/// # Errors
/// Whatever the database says.
pub async fn passed_over(
    session: &mut Session,
    repository: &Repository,
    policy: &str,
    device: DeviceId,
) -> Result<Vec<PassedOver>> {
    let (made, given): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = session
        .sql(
            "SELECT (SELECT updated_at FROM image_update_policies WHERE name = $1), \
             (SELECT updated_at FROM device_targets WHERE device_uuid = $2)",
        )
        .bind(policy.to_owned())
        .bind(device.0)
        .one()
        .await?;
    let (Some(made), Some(given)) = (made, given) else {
        return Ok(Vec::new());
    };
    let rows: Vec<(Uuid, String, String)> = session
        .sql(
            "SELECT v.id, v.tag, v.digest FROM image_versions v \
             WHERE v.repository = $1 AND v.replaced_at IS NULL AND v.planned_at IS NOT NULL \
             AND v.digest IS NOT NULL \
             AND EXISTS (SELECT 1 FROM image_plans p WHERE p.image_version_id = v.id) \
             AND NOT EXISTS (SELECT 1 FROM image_plans p WHERE p.image_version_id = v.id \
               AND (p.decision NOT IN ('no_policy', 'no_devices') OR p.decided_at >= $2)) \
             ORDER BY v.id",
        )
        .bind(repository.to_string())
        .bind(made.max(given))
        .all()
        .await?;
    rows.into_iter()
        .map(|(id, tag, digest)| {
            Ok(PassedOver {
                id: ImageVersionId(id),
                tag,
                digest: parse("image_versions.digest", &digest)?,
            })
        })
        .collect()
}

/// Has a version planned anew, as if it had just been pushed. Returns false where somebody else was first, or the tag
/// has moved on.
///
/// # Errors
/// Whatever the database says.
pub async fn reopen(session: &mut Session, id: ImageVersionId) -> Result<bool> {
    let opened = session
        .sql(
            "UPDATE image_versions SET planned_at = NULL, plan_after = NULL \
             WHERE id = $1 AND planned_at IS NOT NULL AND replaced_at IS NULL",
        )
        .bind(id.0)
        .execute()
        .await?;
    if opened == 0 {
        return Ok(false);
    }
    session
        .sql("DELETE FROM image_plans WHERE image_version_id = $1")
        .bind(id.0)
        .execute()
        .await?;
    Ok(true)
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
             AND ((v.planned_at IS NULL AND NOT EXISTS (SELECT 1 FROM image_plans p \
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

/// A rollout by hand that has not been made yet.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTrigger {
    /// Its id.
    pub id: TriggerId,
    /// The repository.
    pub repository: Repository,
    /// The tag it ships.
    pub tag: Option<String>,
    /// The digest it ships, once known.
    pub digest: Option<Digest>,
    /// How it runs.
    pub rule: RolloutRule,
    /// Which devices.
    pub filters: Filters,
    /// What to do while the digest is unknown.
    pub on_unresolved: OnUnresolved,
    /// Who has a device that two rollouts of the image want.
    pub priority: i32,
    /// The plan it is to ship exactly.
    pub plan: Option<PlanId>,
    /// Whether it ships without the signature that a policy requires.
    pub allow_unsigned: bool,
    /// Whether the registry was asked anew for its signatures.
    pub asked_signatures: bool,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// Who asked for it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What ties its events together.
    pub correlation: CorrelationId,
    /// How often its registry was asked for the digest in vain.
    pub attempts: i64,
}

#[derive(sqlx::FromRow)]
struct TriggerRow {
    id: Uuid,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    rule: Json<RolloutRule>,
    filters: Json<Filters>,
    on_unresolved: String,
    priority: i64,
    plan_id: Option<Uuid>,
    unsigned: Option<String>,
    created_at: DateTime<Utc>,
    actor: String,
    reason: String,
    correlation_id: Uuid,
    resolve_attempts: i64,
}

impl TryFrom<TriggerRow> for OpenTrigger {
    type Error = crate::Error;
    fn try_from(row: TriggerRow) -> Result<Self> {
        Ok(Self {
            id: TriggerId(row.id),
            repository: parse("image_triggers.repository", &row.repository)?,
            tag: row.tag,
            digest: row
                .digest
                .map(|text| parse("image_triggers.digest", &text))
                .transpose()?,
            rule: row.rule.0,
            filters: row.filters.0,
            on_unresolved: parse("image_triggers.on_unresolved", &row.on_unresolved)?,
            // Written from an i32.
            priority: i32::try_from(row.priority).unwrap_or(i32::MAX),
            plan: row.plan_id.map(PlanId),
            allow_unsigned: row.unsigned.as_deref() == Some("allowed"),
            asked_signatures: row.unsigned.as_deref() == Some("asked"),
            created_at: row.created_at,
            actor: row.actor,
            reason: row.reason,
            correlation: CorrelationId(row.correlation_id),
            attempts: row.resolve_attempts,
        })
    }
}

/// Up to `limit` triggers after this one that can be planned: their digest is known, or they ship
/// the tag as it is and its registry was asked at least `attempts` times.
///
/// # Errors
/// Whatever the database says.
pub async fn open_triggers(
    session: &mut Session,
    attempts: i64,
    after: Option<TriggerId>,
    limit: i64,
) -> Result<Vec<TriggerId>> {
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT id FROM image_triggers WHERE settled_at IS NULL AND id > $1 AND \
             (digest IS NOT NULL OR (on_unresolved = 'ship_tag' AND resolve_attempts >= $2)) \
             ORDER BY id LIMIT CAST($3 AS BIGINT)",
        )
        .bind(after.map_or(Uuid::nil(), |id| id.0))
        .bind(attempts)
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| TriggerId(id)).collect())
}

/// Takes a trigger for planning: until the transaction ends nobody else does. None where it is
/// settled.
///
/// # Errors
/// Whatever the database says; a conflict where another replica was first in a snapshot.
pub async fn take_trigger(session: &mut Session, id: TriggerId) -> Result<Option<OpenTrigger>> {
    // A write that changes nothing locks the row on one database and is no harm on the other.
    let row: Option<TriggerRow> = session
        .sql(
            "UPDATE image_triggers SET detail = detail WHERE id = $1 AND settled_at IS NULL \
             RETURNING id, repository, tag, digest, rule, filters, on_unresolved, priority, plan_id, \
             unsigned, created_at, actor, reason, correlation_id, resolve_attempts",
        )
        .bind(id.0)
        .optional()
        .await?;
    row.map(OpenTrigger::try_from).transpose()
}

/// Writes down that a trigger waits for its image's signatures, which the registry is asked for anew, and what it
/// waits for, for people.
///
/// # Errors
/// Whatever the database says.
pub async fn trigger_asks_signatures(
    session: &mut Session,
    id: TriggerId,
    detail: &str,
) -> Result<()> {
    session
        .sql(
            "UPDATE image_triggers SET unsigned = 'asked', detail = $1 \
             WHERE id = $2 AND settled_at IS NULL AND unsigned IS NULL",
        )
        .bind(detail.to_owned())
        .bind(id.0)
        .execute()
        .await?;
    Ok(())
}

/// Writes down what was made of a trigger. Where its rollout ships a tag without a digest, the registry
/// goes on being asked for it. Returns false where it was settled already.
///
/// # Errors
/// Whatever the database says.
pub async fn settle_trigger(
    session: &mut Session,
    id: TriggerId,
    decision: TriggerDecision,
    rollout: Option<RolloutId>,
    detail: Option<&str>,
) -> Result<bool> {
    let now = session.now();
    // The table's CHECK does not know it; the column beside it does.
    let written = match decision {
        TriggerDecision::Unsigned => TriggerDecision::Quarantined,
        TriggerDecision::Rollout
        | TriggerDecision::NoDevices
        | TriggerDecision::Quarantined
        | TriggerDecision::PlanChanged => decision,
    };
    let settled = session
        .sql(
            "UPDATE image_triggers SET decision = $1, rollout_id = $2, detail = $3, \
             next_resolve_at = CASE WHEN digest IS NULL AND $6 THEN next_resolve_at END, \
             unsigned = CASE WHEN $7 THEN 'refused' ELSE unsigned END, \
             settled_at = $4 WHERE id = $5 AND settled_at IS NULL",
        )
        .bind(written.as_str())
        .bind(rollout.map(|id| id.0))
        .bind(detail.map(str::to_owned))
        .bind(now)
        .bind(id.0)
        .bind(rollout.is_some())
        .bind(decision == TriggerDecision::Unsigned)
        .execute()
        .await?;
    Ok(settled == 1)
}
