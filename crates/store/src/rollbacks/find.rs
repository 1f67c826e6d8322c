//! Which rollouts and devices there is something to be done about.

use super::candidates::{Scope, condition};
use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::quarantine::{self, Class, of_class};
use serde_json::{Value, json};
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::image::Digest;
use windlass_types::rollout::DeviceStatus;

/// Parameters of one IN list at most.
const CHUNK: usize = 1000;

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
            // For SQLite: a cross join begins with the few digests, and an index on an expression is no use
            // for what is compared as a column's type.
            let is_held = "d.rollout_id IN (SELECT r.id FROM quarantined_digests held \
                 CROSS JOIN image_rollouts r WHERE COALESCE(r.digest, r.known_digest) = held.digest || '')";
            let condition = condition(scope);
            let sql = format!(
                "SELECT d.rollout_id FROM device_rollout_status d \
                 LEFT JOIN device_current_state c ON c.device_uuid = d.device_uuid \
                 WHERE d.status IN ('scheduled', 'updating', 'verifying', 'unreachable', \
                 'rolling_back') AND {is_held} AND {condition} \
                 UNION SELECT d.rollout_id FROM device_rollout_status d \
                 LEFT JOIN device_current_state c ON c.device_uuid = d.device_uuid \
                 WHERE d.status = 'pending' AND d.retry_at IS NOT NULL \
                 AND {is_held} AND {condition} ORDER BY 1"
            );
            session.built(sql).all().await?
        }
        Scope::Ordered => {
            let sql = format!(
                "SELECT DISTINCT d.rollout_id FROM device_rollout_status d WHERE {} ORDER BY 1",
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
             AND kind IN ('rollback_all', 'rollback_batch', 'rollback_device') ORDER BY 1",
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
             AND status = 'rolling_back' AND COALESCE(reason, '') <> 'unreachable' \
             AND EXISTS (SELECT 1 FROM device_targets t \
             WHERE t.device_uuid = device_rollout_status.device_uuid) LIMIT 1",
        )
        .bind(rollout.0)
        .optional()
        .await?;
    Ok(open.is_some())
}

/// Where devices may go back to, and where never.
#[derive(Debug, Clone, Default)]
pub struct Good {
    /// What each service of a device proved healthy on, the latest first.
    pub last_good: BTreeMap<DeviceId, BTreeMap<(i64, i64), Vec<String>>>,
    /// What failed on a device.
    pub failed: BTreeMap<DeviceId, BTreeSet<Digest>>,
    /// What is in quarantine for a device's class.
    pub held: BTreeMap<DeviceId, BTreeSet<Digest>>,
    /// What is in quarantine for all.
    pub quarantined: BTreeSet<Digest>,
}

/// Where these devices may go back to, and where never.
///
/// # Errors
/// Whatever the database says.
pub async fn good_images(session: &mut Session, devices: &[DeviceId]) -> Result<Good> {
    let mut good = Good::default();
    let classes: Vec<(String,)> = session
        .sql("SELECT DISTINCT digest FROM quarantined_digests WHERE tag_key <> '' ORDER BY 1")
        .all()
        .await?;
    for chunk in devices.chunks(CHUNK) {
        for (digest,) in &classes {
            for device in of_held_classes(session, chunk, digest).await? {
                let digest = parse("quarantined_digests.digest", digest)?;
                good.held.entry(device).or_default().insert(digest);
            }
        }
        let list = placeholders(session.kind(), 1, 1, chunk.len());
        let mut statement = session.built(format!(
            "SELECT device_uuid, app_id, service_id, image FROM device_last_good \
             WHERE device_uuid IN {list} ORDER BY proved_at DESC, image"
        ));
        for device in chunk {
            statement = statement.bind(device.0);
        }
        let rows: Vec<(Uuid, i64, i64, String)> = statement.all().await?;
        for (device, app, service, image) in rows {
            good.last_good
                .entry(DeviceId(device))
                .or_default()
                .entry((app, service))
                .or_default()
                .push(image);
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
        .sql("SELECT digest FROM quarantined_digests WHERE tag_key = ''")
        .all()
        .await?;
    for (digest,) in rows {
        good.quarantined
            .insert(parse("quarantined_digests.digest", &digest)?);
    }
    Ok(good)
}

/// Those of these devices whose class may not have a digest.
async fn of_held_classes(
    session: &mut Session,
    devices: &[DeviceId],
    digest: &str,
) -> Result<Vec<DeviceId>> {
    let n = devices.len();
    let sql = format!(
        "SELECT t.device_uuid FROM device_targets t WHERE t.device_uuid IN {} AND {}",
        placeholders(session.kind(), 1, 1, n),
        of_class("t.device_uuid", &format!("${}", n + 1))
    );
    let mut statement = session.built(sql);
    for device in devices {
        statement = statement.bind(device.0);
    }
    let rows: Vec<(Uuid,)> = statement.bind(digest.to_owned()).all().await?;
    Ok(rows.into_iter().map(|(id,)| DeviceId(id)).collect())
}

/// The latest failures of a rollout, or of the devices of a class in it, as evidence for people.
///
/// # Errors
/// Whatever the database says.
pub async fn failed_sample(
    session: &mut Session,
    rollout: RolloutId,
    class: Option<&Class>,
    limit: i64,
) -> Result<Vec<Value>> {
    let of_class = class.map_or("", |_| {
        " AND COALESCE((SELECT t.value FROM device_tags t \
         WHERE t.device_uuid = d.device_uuid AND t.key = $3), '') = $4"
    });
    let sql = format!(
        "SELECT d.device_uuid, d.reason, d.evidence FROM device_rollout_status d \
         WHERE d.rollout_id = $1 AND d.verdict IS NOT NULL AND d.verdict = 'failed'{of_class} \
         ORDER BY d.judged_at DESC, d.device_uuid LIMIT $2"
    );
    let mut statement = session.built(sql).bind(rollout.0).bind(limit);
    if let Some(class) = class {
        statement = statement.bind(class.key.clone()).bind(class.value.clone());
    }
    let rows: Vec<(Uuid, Option<String>, Option<Json<Value>>)> = statement.all().await?;
    Ok(rows
        .into_iter()
        .map(|(device, reason, evidence)| {
            let summary = evidence.as_ref().and_then(|e| e.0.get("summary"));
            json!({"device_uuid": device, "reason": reason, "summary": summary})
        })
        .collect())
}
