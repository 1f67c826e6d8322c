//! Which rollouts and devices there is something to be done about.

use crate::Statement;
use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::quarantine;
use crate::store::Kind;
use crate::verdicts::{InFlight, claim};
use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::image::Digest;
use windlass_types::rollout::DeviceStatus;

/// Parameters of one IN list at most.
const CHUNK: usize = 1000;

/// How long after its end the failures of a rollout can still put its digest into quarantine.
const STILL_JUDGED: TimeDelta = TimeDelta::days(7);

/// Which devices of a rollout are to be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that failed and whose rollout puts failed devices back.
    Failed,
    /// Those that have a digest in their target that went into quarantine, and have not taken it up
    /// or are silent.
    Quarantined,
    /// All that have the rollout's image: the whole rollout is taken back.
    All,
    /// One device, on an operator's order.
    Device(DeviceId),
}

/// The scope as a condition on `d`; the time of `Failed` and the device of `Device` are bound by the
/// caller as `$3`. The others look at no clock: one that was set back must hide nobody.
const fn condition(scope: Scope) -> &'static str {
    match scope {
        Scope::Failed => "d.status = 'failed' AND d.check_at <= $3",
        // A version received or not is in the observation; none there means not received.
        Scope::Quarantined => {
            "(d.status = 'unreachable' OR (d.status IN ('scheduled', 'updating') AND \
             COALESCE(CAST(c.observation ->> 'version_received' AS BIGINT), 0) < d.target_version))"
        }
        Scope::All => {
            "d.status IN ('scheduled', 'updating', 'verifying', 'completed', 'failed', 'unreachable') \
             AND COALESCE(d.reason, '') <> 'target_changed'"
        }
        Scope::Device(_) => {
            "d.status IN ('scheduled', 'updating', 'verifying', 'completed', 'failed', \
             'unreachable', 'rollback_failed') AND d.device_uuid = $3"
        }
    }
}

/// Up to `limit` devices of a rollout that are to be put back, locked.
///
/// # Errors
/// Whatever the database says.
pub async fn candidates(
    session: &mut Session,
    rollout: RolloutId,
    scope: Scope,
    limit: i64,
) -> Result<Vec<InFlight>> {
    let among = lock_targets(session, rollout, scope, limit).await?;
    let sql = format!(
        "{} WHERE d.rollout_id = $1 AND {}{among} ORDER BY d.device_uuid LIMIT $2{}",
        claim::SELECT,
        condition(scope),
        claim::lock(session, true)
    );
    let rows = bound(session, sql, rollout, scope, limit).all().await?;
    claim::read(session, rows).await
}

/// Locks the targets of these devices before their rows, as whoever admits devices does: the other
/// way round two transactions could wait for each other. Returns the condition that keeps to them.
async fn lock_targets(
    session: &mut Session,
    rollout: RolloutId,
    scope: Scope,
    limit: i64,
) -> Result<String> {
    if session.kind() == Kind::Sqlite {
        return Ok(String::new());
    }
    let sql = format!(
        "SELECT device_uuid FROM device_targets WHERE device_uuid IN \
         (SELECT d.device_uuid FROM device_rollout_status d \
         LEFT JOIN device_current_state c ON c.device_uuid = d.device_uuid \
         WHERE d.rollout_id = $1 AND {} ORDER BY d.device_uuid LIMIT $2) \
         ORDER BY device_uuid FOR UPDATE",
        condition(scope)
    );
    let rows: Vec<(Uuid,)> = bound(session, sql, rollout, scope, limit).all().await?;
    // A device that joined since waits for the next group. Ids need no quoting.
    let ids: Vec<String> = rows.iter().map(|(id,)| format!("'{id}'")).collect();
    Ok(if ids.is_empty() {
        " AND FALSE".to_owned()
    } else {
        format!(" AND d.device_uuid IN ({})", ids.join(", "))
    })
}

fn bound(
    session: &mut Session,
    sql: String,
    rollout: RolloutId,
    scope: Scope,
    limit: i64,
) -> Statement<'_> {
    let now = session.now();
    let statement = session.built(sql).bind(rollout.0).bind(limit);
    match scope {
        Scope::Device(device) => statement.bind(device.0),
        Scope::Failed => statement.bind(now),
        Scope::Quarantined | Scope::All => statement,
    }
}

/// Rollouts with devices in this scope, oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_to_put_back(session: &mut Session, scope: Scope) -> Result<Vec<RolloutId>> {
    let now = session.now();
    let rows: Vec<(Uuid,)> = match scope {
        Scope::Failed => {
            session
                .sql(
                    "SELECT DISTINCT d.rollout_id FROM device_rollout_status d \
                     WHERE d.status = 'failed' AND d.check_at IS NOT NULL AND d.check_at <= $1 \
                     ORDER BY 1",
                )
                .bind(now)
                .all()
                .await?
        }
        Scope::Quarantined => {
            if !quarantine::any(session).await? {
                return Ok(Vec::new());
            }
            // From the few devices that are on their way to the digests, never the other way
            // round. The first condition allows the index of such devices, word by word.
            let sql = format!(
                "SELECT DISTINCT d.rollout_id FROM device_rollout_status d \
                 LEFT JOIN device_current_state c ON c.device_uuid = d.device_uuid \
                 WHERE d.status IN ('scheduled', 'updating', 'verifying', 'unreachable', \
                 'rolling_back') AND d.rollout_id IN (SELECT r.id FROM image_rollouts r \
                 JOIN quarantined_digests q ON q.digest = r.digest) AND {} ORDER BY 1",
                condition(scope)
            );
            session.built(sql).all().await?
        }
        Scope::All | Scope::Device(_) => {
            session
                .sql(
                    "SELECT id FROM image_rollouts WHERE status = 'rolling_back' \
                     AND finished_at IS NULL ORDER BY 1",
                )
                .all()
                .await?
        }
    };
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

/// Rollouts being taken back as a whole, oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn rolling_back(session: &mut Session) -> Result<Vec<RolloutId>> {
    rollouts_to_put_back(session, Scope::All).await
}

/// Rollouts with an order to put devices back that nobody has carried out, oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_with_commands(session: &mut Session) -> Result<Vec<RolloutId>> {
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT DISTINCT rollout_id FROM rollout_commands WHERE settled_at IS NULL \
             AND kind IN ('rollback_all', 'rollback_device') ORDER BY 1",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

/// Rollouts in which a device failed since a person took its failures upon themselves: those whose
/// failure budget is to be looked at. Running ones may have to be paused. Of the others, which may
/// have been stopped, overtaken or completed before anybody looked, only those whose digest is not
/// in quarantine, and none that ended more than a week ago.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_with_failures(session: &mut Session) -> Result<Vec<RolloutId>> {
    let since = session.now() - STILL_JUDGED;
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT r.id FROM image_rollouts r WHERE (r.finished_at IS NULL OR r.finished_at > $1) \
             AND (r.status = 'in_progress' OR (r.digest IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM quarantined_digests q WHERE q.digest = r.digest))) \
             AND EXISTS (SELECT 1 FROM device_rollout_status d \
             WHERE d.rollout_id = r.id AND d.verdict = 'failed' \
             AND (r.failures_from IS NULL OR d.judged_at > r.failures_from)) ORDER BY 1",
        )
        .bind(since)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

/// Whether nobody of this batch is waited for any more.
///
/// # Errors
/// Whatever the database says.
pub async fn batch_ended(session: &mut Session, rollout: RolloutId, batch: i64) -> Result<bool> {
    let open: Option<(Uuid,)> = session
        .sql(
            "SELECT device_uuid FROM device_rollout_status WHERE rollout_id = $1 AND batch = $2 \
             AND status IN ('pending', 'scheduled', 'updating', 'verifying') LIMIT 1",
        )
        .bind(rollout.0)
        .bind(batch)
        .optional()
        .await?;
    Ok(open.is_none())
}

/// Where a device stands in a rollout; none where it is not in it.
///
/// # Errors
/// Whatever the database says.
pub async fn status_of(
    session: &mut Session,
    rollout: RolloutId,
    device: DeviceId,
) -> Result<Option<DeviceStatus>> {
    let row: Option<(String,)> = session
        .sql("SELECT status FROM device_rollout_status WHERE rollout_id = $1 AND device_uuid = $2")
        .bind(rollout.0)
        .bind(device.0)
        .optional()
        .await?;
    row.map(|(status,)| parse("device_rollout_status.status", &status))
        .transpose()
}

/// Whether a rollout that is taken back has devices that are reachable and on their way.
///
/// # Errors
/// Whatever the database says.
pub async fn still_rolling_back(session: &mut Session, rollout: RolloutId) -> Result<bool> {
    let open: Option<(Uuid,)> = session
        .sql(
            "SELECT device_uuid FROM device_rollout_status WHERE rollout_id = $1 \
             AND status = 'rolling_back' AND COALESCE(reason, '') <> 'unreachable' LIMIT 1",
        )
        .bind(rollout.0)
        .optional()
        .await?;
    Ok(open.is_some())
}

/// Where devices may go back to, and where never.
#[derive(Debug, Clone, Default)]
pub struct Good {
    /// What each service of a device proved healthy on.
    pub last_good: BTreeMap<DeviceId, BTreeMap<(i64, i64), String>>,
    /// What failed on a device.
    pub failed: BTreeMap<DeviceId, BTreeSet<Digest>>,
    /// What is in quarantine for all.
    pub quarantined: BTreeSet<Digest>,
}

/// Where these devices may go back to, and where never.
///
/// # Errors
/// Whatever the database says.
pub async fn good_images(session: &mut Session, devices: &[DeviceId]) -> Result<Good> {
    let mut good = Good::default();
    for chunk in devices.chunks(CHUNK) {
        let list = placeholders(session.kind(), 1, 1, chunk.len());
        let mut statement = session.built(format!(
            "SELECT device_uuid, app_id, service_id, image FROM device_last_good \
             WHERE device_uuid IN {list}"
        ));
        for device in chunk {
            statement = statement.bind(device.0);
        }
        let rows: Vec<(Uuid, i64, i64, String)> = statement.all().await?;
        for (device, app, service, image) in rows {
            good.last_good
                .entry(DeviceId(device))
                .or_default()
                .insert((app, service), image);
        }
        let mut statement = session.built(format!(
            "SELECT device_uuid, digest FROM device_failed_images WHERE device_uuid IN {list}"
        ));
        for device in chunk {
            statement = statement.bind(device.0);
        }
        let rows: Vec<(Uuid, String)> = statement.all().await?;
        for (device, digest) in rows {
            good.failed
                .entry(DeviceId(device))
                .or_default()
                .insert(parse("device_failed_images.digest", &digest)?);
        }
    }
    let rows: Vec<(String,)> = session
        .sql("SELECT digest FROM quarantined_digests")
        .all()
        .await?;
    for (digest,) in rows {
        good.quarantined
            .insert(parse("quarantined_digests.digest", &digest)?);
    }
    Ok(good)
}

/// The latest failures of a rollout, as evidence for people.
///
/// # Errors
/// Whatever the database says.
pub async fn failed_sample(
    session: &mut Session,
    rollout: RolloutId,
    limit: i64,
) -> Result<Vec<Value>> {
    let rows: Vec<(Uuid, Option<String>, Option<Json<Value>>)> = session
        .sql(
            "SELECT device_uuid, reason, evidence FROM device_rollout_status \
             WHERE rollout_id = $1 AND verdict IS NOT NULL AND verdict = 'failed' \
             ORDER BY judged_at DESC, device_uuid LIMIT $2",
        )
        .bind(rollout.0)
        .bind(limit)
        .all()
        .await?;
    Ok(rows
        .into_iter()
        .map(|(device, reason, evidence)| {
            let summary = evidence.as_ref().and_then(|e| e.0.get("summary"));
            json!({"device_uuid": device, "reason": reason, "summary": summary})
        })
        .collect())
}
