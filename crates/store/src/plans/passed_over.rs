//! Pushed versions that were passed over while what takes them was not there yet, for watch mode.

use crate::db::Session;
use crate::error::{Result, parse};
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, ImageVersionId, PolicyId};
use windlass_types::image::{Digest, Repository};

/// A pushed version of which nothing was made, because there was no policy or no device for it at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its id.
    pub id: ImageVersionId,
    /// The tag.
    pub tag: String,
    /// The digest.
    pub digest: Digest,
    /// The policy that it was passed over without.
    pub policy: PolicyId,
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
    let row: Option<(Uuid, DateTime<Utc>, DateTime<Utc>)> = session
        .sql(
            "SELECT p.id, p.updated_at, t.updated_at FROM image_update_policies p \
             JOIN device_targets t ON t.device_uuid = $2 WHERE p.name = $1",
        )
        .bind(policy.to_owned())
        .bind(device.0)
        .optional()
        .await?;
    let Some((policy, made, given)) = row else {
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
                policy: PolicyId(policy),
            })
        })
        .collect()
}

/// Has a version planned anew for the policy that it was passed over without, and for no other: others that were made
/// since it was pushed are for what is pushed since. What those decided that were there stays. Returns false where
/// somebody else was first, or the tag has moved on.
///
/// # Errors
/// Whatever the database says.
pub async fn reopen(session: &mut Session, version: &PassedOver) -> Result<bool> {
    let opened = session
        .sql(
            "UPDATE image_versions SET planned_at = NULL, plan_after = NULL, reopened_for = $1 \
             WHERE id = $2 AND planned_at IS NOT NULL AND replaced_at IS NULL",
        )
        .bind(version.policy.0)
        .bind(version.id.0)
        .execute()
        .await?;
    if opened == 0 {
        return Ok(false);
    }
    // That there was no policy is over, as is what this one said before.
    session
        .sql(
            "DELETE FROM image_plans WHERE image_version_id = $1 \
             AND (decision = 'no_policy' OR policy_id = $2)",
        )
        .bind(version.id.0)
        .bind(version.policy.0)
        .execute()
        .await?;
    Ok(true)
}
