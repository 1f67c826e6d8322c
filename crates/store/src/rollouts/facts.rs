//! What a decision about a rollout rests on.

use super::failures::failure_count;
use super::gates;
use crate::db::Session;
use crate::error::{Result, parse};
use crate::{commands, freezes, image_facts, quarantine};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_core::signatures::verify;
use windlass_types::facts::RolloutFacts;
use windlass_types::ids::RolloutId;
use windlass_types::image::Digest;
use windlass_types::policy::SignatureRule;
use windlass_types::rollout::{BatchProgress, DeviceStatus, Rollout, RolloutStatus};

/// Rollouts that may have something to do now, oldest first, and nothing else: those with a command
/// to be carried out, those to be begun, and running ones whose next batch is due, whose present
/// batch has nobody on the way or somebody who could be admitted, with a check that says no, or whose
/// digest went into quarantine. A batch whose devices are all on their way costs an index look-up,
/// however large it is.
///
/// # Errors
/// Whatever the database says.
pub async fn moving(session: &mut Session) -> Result<Vec<RolloutId>> {
    let now = session.now();
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT r.id FROM image_rollouts r WHERE r.finished_at IS NULL AND (\
               r.status IN ('pending', 'scheduled') \
               OR (r.status = 'in_progress' AND (\
                 EXISTS (SELECT 1 FROM quarantined_digests q WHERE q.tag_key = '' AND q.digest = COALESCE(r.digest, r.known_digest)) \
                 OR r.next_batch_at <= $1 \
                 OR (r.next_batch_at IS NULL AND NOT EXISTS (\
                   SELECT 1 FROM device_rollout_status d \
                   WHERE d.rollout_id = r.id AND d.batch = r.current_batch \
                   AND d.status IN ('pending', 'scheduled', 'updating', 'verifying'))) \
                 OR (r.next_batch_at IS NULL AND EXISTS (\
                   SELECT 1 FROM device_rollout_status d \
                   WHERE d.rollout_id = r.id AND d.batch = r.current_batch AND d.status = 'pending' \
                   AND (d.retry_at IS NULL OR d.retry_at <= $2))) \
                 OR EXISTS (SELECT 1 FROM device_rollout_status d WHERE d.rollout_id = r.id \
                   AND d.status = 'pending' AND d.retry_at <= $3 AND d.batch <= r.current_batch) \
                 OR EXISTS (SELECT 1 FROM rollout_checks c WHERE c.rollout_id = r.id \
                   AND c.batch = r.current_batch AND c.status IN ('failed', 'inconclusive'))))) \
             UNION \
             SELECT c.rollout_id FROM rollout_commands c WHERE c.settled_at IS NULL AND c.kind IN \
               ('pause', 'resume', 'cancel', 'approve', 'next_batch', 'retry', 'override_freeze') \
             ORDER BY 1",
        )
        .bind(now)
        .bind(now)
        .bind(now)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

/// When the next batch of any rollout is due, or the next device may be tried again, that is not yet.
/// What a rollout that moves waits for besides, such as a window, its plan tells.
///
/// # Errors
/// Whatever the database says.
pub async fn next_due(session: &mut Session) -> Result<Option<DateTime<Utc>>> {
    let now = session.now();
    let (batch,): (Option<DateTime<Utc>>,) = session
        .sql(
            "SELECT MIN(next_batch_at) FROM image_rollouts \
             WHERE status = 'in_progress' AND finished_at IS NULL AND next_batch_at > $1",
        )
        .bind(now)
        .one()
        .await?;
    let (retry,): (Option<DateTime<Utc>>,) = session
        .sql(
            "SELECT MIN(d.retry_at) FROM image_rollouts r \
             JOIN device_rollout_status d ON d.rollout_id = r.id \
             WHERE r.status = 'in_progress' AND r.finished_at IS NULL \
             AND d.status = 'pending' AND d.retry_at > $1",
        )
        .bind(now)
        .one()
        .await?;
    Ok(batch.into_iter().chain(retry).min())
}

/// How many rollouts that have not ended stand where.
///
/// # Errors
/// Whatever the database says.
pub async fn active_by_status(session: &mut Session) -> Result<Vec<(RolloutStatus, i64)>> {
    let rows: Vec<(String, i64)> = session
        .sql(
            "SELECT status, COUNT(*) FROM image_rollouts WHERE finished_at IS NULL \
             GROUP BY status ORDER BY status",
        )
        .all()
        .await?;
    rows.into_iter()
        .map(|(status, rollouts)| Ok((parse("image_rollouts.status", &status)?, rollouts)))
        .collect()
}

/// What the next step of a rollout depends on; none where there is no such rollout.
///
/// # Errors
/// Whatever the database says.
pub async fn facts(session: &mut Session, id: RolloutId) -> Result<Option<RolloutFacts>> {
    let Some(rollout) = super::get(session, id).await? else {
        return Ok(None);
    };
    let quarantined = match shipped_digest(session, id).await? {
        Some(digest) => quarantine::contains(session, &digest).await?,
        None => false,
    };
    let unsigned = unsigned(session, &rollout).await?;
    // What was admitted with which batch its slice tells. Whoever came back from silence in an earlier
    // batch is of a slice of that batch.
    let (devices_until, tried_again): (Option<DateTime<Utc>>, i64) = session
        .sql(
            "SELECT MAX(d.deadline_at), COUNT(a.slice) FROM device_rollout_status d \
             LEFT JOIN rollout_admissions a ON a.rollout_id = d.rollout_id AND a.slice = d.slice \
             AND a.batch = $3 AND d.batch < $4 \
             WHERE d.rollout_id = $1 AND d.batch <= $2 \
             AND d.status IN ('scheduled', 'updating', 'verifying')",
        )
        .bind(id.0)
        .bind(rollout.current_batch)
        .bind(rollout.current_batch)
        .bind(rollout.current_batch)
        .one()
        .await?;
    let batches = progress(session, id).await?;
    Ok(Some(RolloutFacts {
        freezes: freezes::open(session).await?,
        approvals: gates::approvals(session, id).await?,
        checks: gates::checks(session, id, rollout.current_batch).await?,
        waiting: gates::waiting(session, &rollout, &batches).await?,
        admitted_lately: gates::admitted_lately(session, id).await?,
        batches,
        failures: failure_count(session, &rollout).await?,
        commands: commands::pending(session, id).await?,
        quarantined,
        unsigned,
        tried_again,
        devices_until,
        rollout,
    }))
}

/// Why a rollout's image lacks the signature that its policy wants, by what was found in the registry and
/// the keys that the policy has now. A rollout by hand has no policy, and one whose policy is gone none that
/// wants anything.
async fn unsigned(session: &mut Session, rollout: &Rollout) -> Result<Option<String>> {
    let Some(policy) = rollout.policy_id else {
        return Ok(None);
    };
    let row: Option<(Option<Json<SignatureRule>>,)> = session
        .sql("SELECT spec -> 'signature' FROM image_update_policies WHERE id = $1")
        .bind(policy.0)
        .optional()
        .await?;
    let rule = row.and_then(|(rule,)| rule).map(|json| json.0);
    let Some(rule) = rule.filter(|rule| rule.require) else {
        return Ok(None);
    };
    let Some(digest) = &rollout.digest else {
        return Ok(Some("its digest is not known".to_owned()));
    };
    let known = image_facts::get(session, &rollout.repository, digest).await?;
    let found = known.and_then(|known| known.signatures).unwrap_or_default();
    let verified = verify(&rule, &rollout.repository, digest, &found);
    Ok(verified.err().map(|why| why.to_string()))
}

/// The digest that devices of a rollout run: the one it ships or, where it ships a tag without one, what
/// the tag turned out to name, once that is known.
///
/// # Errors
/// Whatever the database says.
pub async fn shipped_digest(session: &mut Session, id: RolloutId) -> Result<Option<Digest>> {
    let row: Option<(Option<String>,)> = session
        .sql("SELECT COALESCE(digest, known_digest) FROM image_rollouts WHERE id = $1")
        .bind(id.0)
        .optional()
        .await?;
    row.and_then(|(digest,)| digest)
        .map(|text| parse("image_rollouts.known_digest", &text))
        .transpose()
}

/// How the batches of a rollout stand, first to last.
///
/// # Errors
/// Whatever the database says.
pub async fn progress(session: &mut Session, id: RolloutId) -> Result<Vec<BatchProgress>> {
    let rows: Vec<(i64, String, Option<String>, i64, i64)> = session
        .sql(
            "SELECT batch, status, verdict, COUNT(*), COUNT(CASE WHEN status = 'unreachable' \
             AND reason = 'silent_after_update' THEN 1 END) FROM device_rollout_status \
             WHERE rollout_id = $1 GROUP BY batch, status, verdict ORDER BY batch",
        )
        .bind(id.0)
        .all()
        .await?;
    let mut batches: BTreeMap<i64, BatchProgress> = BTreeMap::new();
    for (number, status, verdict, devices, silent) in rows {
        let batch = batches.entry(number).or_insert_with(|| BatchProgress {
            batch: number,
            ..BatchProgress::default()
        });
        let status: DeviceStatus = parse("device_rollout_status.status", &status)?;
        batch.add(status, devices);
        count(batch, verdict.as_deref(), devices);
        batch.went_silent += silent;
    }
    Ok(batches.into_values().collect())
}

pub(super) fn count(batch: &mut BatchProgress, verdict: Option<&str>, devices: i64) {
    match verdict {
        Some("environment") => batch.environment_failed += devices,
        Some("failed") => {
            batch.attempted += devices;
            batch.attempted_failed += devices;
        }
        Some(_) => batch.attempted += devices,
        None => {}
    }
}
