//! What devices had before a rollout, and what its tag named.

use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::ids::DeviceId;
use windlass_types::image::{Digest, ImageReference};
use windlass_types::rollout::Rollout;

/// Parameters of one IN list at most.
const CHUNK: usize = 1000;

/// What a rollout's tag named before the version that the rollout ships; none where that is not
/// known.
///
/// # Errors
/// Whatever the database says.
pub async fn tag_before(session: &mut Session, rollout: &Rollout) -> Result<Option<Digest>> {
    let Some(tag) = &rollout.tag else {
        return Ok(None);
    };
    // A rollout by hand has no version of its own: then it is the latest with its digest.
    let row: Option<(String,)> = session
        .sql(
            "SELECT v.digest FROM image_versions v WHERE v.repository = $1 AND v.tag = $2 \
             AND v.digest IS NOT NULL AND v.digest <> $3 AND v.seen_at <= COALESCE(\
             (SELECT own.seen_at FROM image_rollouts r JOIN image_versions own \
             ON own.id = r.image_version_id WHERE r.id = $4), \
             (SELECT MAX(same.seen_at) FROM image_versions same WHERE same.repository = $5 \
             AND same.tag = $6 AND same.digest = $7)) \
             AND v.replaced_at IS NOT NULL ORDER BY v.seen_at DESC, v.id DESC LIMIT 1",
        )
        .bind(rollout.repository.to_string())
        .bind(tag.clone())
        .bind(
            rollout
                .digest
                .as_ref()
                .map_or_else(String::new, Digest::to_string),
        )
        .bind(rollout.id.0)
        .bind(rollout.repository.to_string())
        .bind(tag.clone())
        .bind(
            rollout
                .digest
                .as_ref()
                .map_or_else(String::new, Digest::to_string),
        )
        .optional()
        .await?;
    row.map(|(digest,)| parse("image_versions.digest", &digest))
        .transpose()
}

/// The images that other rollouts of the same repository gave these devices and that did not prove
/// healthy on them.
///
/// # Errors
/// Whatever the database says.
pub async fn unproved_images(
    session: &mut Session,
    rollout: &Rollout,
    devices: &[DeviceId],
) -> Result<BTreeMap<DeviceId, BTreeSet<String>>> {
    let mut found: BTreeMap<DeviceId, BTreeSet<String>> = BTreeMap::new();
    for chunk in devices.chunks(CHUNK) {
        let n = chunk.len();
        let sql = format!(
            "WITH asked AS (SELECT column1 AS device_uuid FROM (VALUES {values}) AS raw), \
             moved AS (SELECT d.device_uuid, d.rollout_id, d.verdict, d.admitted_at FROM asked a \
             JOIN device_rollout_status d ON d.device_uuid = a.device_uuid AND d.status <> 'pending' \
             UNION ALL SELECT d.device_uuid, d.rollout_id, d.verdict, d.admitted_at FROM asked a \
             JOIN device_rollout_status d ON d.device_uuid = a.device_uuid AND d.status = 'pending' \
             AND d.retry_at IS NOT NULL) \
             SELECT m.device_uuid, r.tag, r.digest FROM moved m \
             JOIN image_rollouts r ON r.id = m.rollout_id WHERE m.admitted_at IS NOT NULL \
             AND COALESCE(m.verdict, '') <> 'healthy' AND r.repository = ${} AND r.id <> ${}",
            n + 1,
            n + 2,
            values = placeholders(session.kind(), 1, n, 1),
        );
        let mut statement = session.built(sql);
        for device in chunk {
            statement = statement.bind(device.0);
        }
        let rows: Vec<(Uuid, Option<String>, Option<String>)> = statement
            .bind(rollout.repository.to_string())
            .bind(rollout.id.0)
            .all()
            .await?;
        for (device, tag, digest) in rows {
            let digest: Option<Digest> = digest
                .map(|digest| parse("image_rollouts.digest", &digest))
                .transpose()?;
            let image = ImageReference::of(&rollout.repository, tag.as_deref(), digest.as_ref());
            found
                .entry(DeviceId(device))
                .or_default()
                .insert(image.to_string());
        }
    }
    Ok(found)
}
