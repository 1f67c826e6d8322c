//! Which rollouts and devices there is something to be done about.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::verdicts::{InFlight, claim};
use serde_json::{Value, json};
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::image::Digest;
use windlass_types::rollout::DeviceStatus;

/// Parameters of one IN list at most.
const CHUNK: usize = 1000;

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

/// The scope as a condition on `d`; times and devices are bound by the caller as `$2`.
const fn condition(scope: Scope) -> &'static str {
    match scope {
        Scope::Failed => "d.status = 'failed' AND d.check_at <= $2",
        // A version received or not is in the observation; none there means not received.
        Scope::Quarantined => {
            "(d.status = 'unreachable' OR (d.status IN ('scheduled', 'updating') AND \
             COALESCE(CAST(c.observation ->> 'version_received' AS BIGINT), 0) < d.target_version)) \
             AND d.updated_at <= $2"
        }
        Scope::All => {
            "d.status IN ('scheduled', 'updating', 'verifying', 'completed', 'failed', 'unreachable') \
             AND COALESCE(d.reason, '') <> 'target_changed' AND d.updated_at <= $2"
        }
        Scope::Device(_) => {
            "d.status IN ('scheduled', 'updating', 'verifying', 'completed', 'failed', \
             'unreachable', 'rollback_failed') AND d.device_uuid = $2"
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
    let now = session.now();
    let sql = format!(
        "{} WHERE d.rollout_id = $1 AND {} ORDER BY d.device_uuid LIMIT $3{}",
        claim::SELECT,
        condition(scope),
        claim::lock(session, true)
    );
    let statement = session.built(sql).bind(rollout.0);
    let statement = match scope {
        Scope::Device(device) => statement.bind(device.0),
        Scope::Failed | Scope::Quarantined | Scope::All => statement.bind(now),
    };
    claim::rows(statement.bind(limit)).await
}

/// Rollouts with devices in this scope, oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_to_put_back(session: &mut Session, scope: Scope) -> Result<Vec<RolloutId>> {
    let now = session.now();
    let sql = match scope {
        Scope::Failed => "SELECT DISTINCT d.rollout_id FROM device_rollout_status d \
             WHERE d.status = 'failed' AND d.check_at IS NOT NULL AND d.check_at <= $1 ORDER BY 1"
            .to_owned(),
        Scope::Quarantined => format!(
            "SELECT r.id FROM quarantined_digests q JOIN image_rollouts r ON r.digest = q.digest \
             WHERE EXISTS (SELECT 1 FROM device_rollout_status d \
             LEFT JOIN device_current_state c ON c.device_uuid = d.device_uuid \
             WHERE d.rollout_id = r.id AND {}) ORDER BY 1",
            condition(scope).replace("$2", "$1")
        ),
        Scope::All | Scope::Device(_) => {
            "SELECT id FROM image_rollouts WHERE status = 'rolling_back' AND created_at <= $1 \
             AND finished_at IS NULL ORDER BY 1"
                .to_owned()
        }
    };
    let rows: Vec<(Uuid,)> = session.built(sql).bind(now).all().await?;
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

/// Running rollouts in which a device failed: those whose failure budget is to be looked at.
///
/// # Errors
/// Whatever the database says.
pub async fn rollouts_with_failures(session: &mut Session) -> Result<Vec<RolloutId>> {
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT r.id FROM image_rollouts r WHERE r.status = 'in_progress' \
             AND r.finished_at IS NULL AND EXISTS (SELECT 1 FROM device_rollout_status d \
             WHERE d.rollout_id = r.id AND d.verdict = 'failed' \
             AND (r.failures_from IS NULL OR d.judged_at > r.failures_from)) ORDER BY 1",
        )
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
