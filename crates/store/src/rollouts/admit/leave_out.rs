//! Devices of a slice that must not be admitted any more.

use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::events;
use crate::rollouts::give_up::give_up;
use crate::rollouts::scope::{class_quarantined, filtered, in_penalty_box};
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::event::NewEvent;
use windlass_types::ids::DeviceId;
use windlass_types::image::Digest;
use windlass_types::policy::Filters;
use windlass_types::rollout::{Rollout, SkipReason};

/// Why devices of a slice are left out, and what is told of each.
pub(super) struct Because<'a> {
    pub(super) reason: SkipReason,
    pub(super) slice: i64,
    pub(super) told: &'a NewEvent,
}

/// What is looked at again when a device's turn has come, in this order.
pub(super) const REASONS: [SkipReason; 8] = [
    SkipReason::Deleted,
    SkipReason::TargetChanged,
    SkipReason::OutOfScope,
    SkipReason::Disabled,
    SkipReason::PenaltyBox,
    SkipReason::Quarantined,
    SkipReason::FailedHereBefore,
    SkipReason::HigherPriority,
];

/// What the reasons are about beside the rollout itself.
pub(super) struct Meanwhile<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) without: &'a [Filters],
    /// The digest its devices run, as far as is known.
    pub(super) digest: Option<&'a Digest>,
    pub(super) now: DateTime<Utc>,
}

impl Meanwhile<'_> {
    /// Which devices must not be admitted any more for this reason, as a condition on their rows. False
    /// where the reason cannot be one.
    pub(super) fn condition(&self, sql: &mut Build, reason: SkipReason) -> bool {
        match reason {
            SkipReason::Deleted => {
                sql.text(
                    "NOT EXISTS (SELECT 1 FROM devices d \
                     WHERE d.uuid = device_rollout_status.device_uuid)",
                );
            }
            SkipReason::TargetChanged => self.target_changed(sql),
            SkipReason::OutOfScope => {
                sql.text(
                    "NOT EXISTS (SELECT 1 FROM devices d \
                     WHERE d.uuid = device_rollout_status.device_uuid AND ",
                );
                filtered(sql, "d", &self.rollout.filters, self.without);
                sql.text(")");
            }
            SkipReason::Disabled => {
                sql.text(
                    "EXISTS (SELECT 1 FROM devices d \
                     WHERE d.uuid = device_rollout_status.device_uuid AND NOT d.enabled)",
                );
            }
            SkipReason::PenaltyBox => {
                in_penalty_box(sql, "device_rollout_status.device_uuid", self.now);
            }
            SkipReason::Quarantined => match self.digest {
                Some(digest) => class_quarantined(sql, "device_rollout_status.device_uuid", digest),
                None => return false,
            },
            SkipReason::FailedHereBefore => match self.digest {
                Some(digest) => {
                    sql.text(
                        "EXISTS (SELECT 1 FROM device_failed_images f \
                         WHERE f.device_uuid = device_rollout_status.device_uuid AND f.digest = ",
                    )
                    .value(digest.to_string())
                    .text(")");
                }
                None => return false,
            },
            SkipReason::HigherPriority => self.held(sql),
            SkipReason::AlreadyOnImage
            | SkipReason::Downgrade
            | SkipReason::RolloutEnded
            | SkipReason::OtherPlatform
            | SkipReason::Unreadable => return false,
        }
        true
    }

    /// What a person set since the device came in or was admitted last is left alone, whoever moved
    /// the target after that: versions tell, which no clock sets back. A newer rollout has been there
    /// even where another repository's has moved the target since, so the rows tell, not the target.
    fn target_changed(&self, sql: &mut Build) {
        sql.text(
            "EXISTS (SELECT 1 FROM device_targets t \
               WHERE t.device_uuid = device_rollout_status.device_uuid \
               AND t.hand_version > COALESCE(device_rollout_status.target_version, \
                 device_rollout_status.seen_version)) \
             OR EXISTS (SELECT 1 FROM device_rollout_status o \
               JOIN image_rollouts r ON r.id = o.rollout_id \
               WHERE o.device_uuid = device_rollout_status.device_uuid \
               AND o.status <> 'pending' \
               AND (o.target_version IS NOT NULL OR o.reason = 'already_on_image') \
               AND r.repository = ",
        )
        .value(self.rollout.repository.to_string())
        .text(" AND ");
        self.newer(sql);
        sql.text(")");
    }

    /// An active rollout of the repository with a higher priority, or as high and newer, has the device.
    fn held(&self, sql: &mut Build) {
        let priority = i64::from(self.rollout.priority);
        sql.text(
            "EXISTS (SELECT 1 FROM device_rollout_status o \
               JOIN image_rollouts r ON r.id = o.rollout_id \
               WHERE o.device_uuid = device_rollout_status.device_uuid \
               AND o.status <> 'skipped' AND r.finished_at IS NULL AND r.repository = ",
        )
        .value(self.rollout.repository.to_string())
        .text(" AND (r.priority > ")
        .value(priority)
        .text(" OR (r.priority = ")
        .value(priority)
        .text(" AND ");
        self.newer(sql);
        sql.text(")))");
    }

    /// That rollout `r` is newer.
    fn newer(&self, sql: &mut Build) {
        sql.text("(r.created_at > ")
            .value(self.rollout.created_at)
            .text(" OR (r.created_at = ")
            .value(self.rollout.created_at)
            .text(" AND r.id > ")
            .value(self.rollout.id.0)
            .text("))");
    }
}

/// Skips the devices of a slice that a condition holds for, and tells of each; those that are tried
/// again and may have the image fail instead. Returns how many.
pub(super) async fn leave_out(
    session: &mut Session,
    rollout: &Rollout,
    because: &Because<'_>,
    condition: impl Fn(&mut Build),
) -> Result<u64> {
    let now = session.now();
    let told_by = (because.reason, because.told.actor.as_str());
    let failed = give_up(session, rollout, told_by, |sql| {
        sql.text("slice = ").value(because.slice).text(" AND (");
        condition(sql);
        sql.text(")");
    })
    .await?;
    let mut sql = Build::new(session.kind());
    sql.text("UPDATE device_rollout_status SET status = 'skipped', reason = ")
        .value(because.reason.as_str())
        .text(", updated_at = ")
        .value(now)
        .text(", retry_at = NULL, rollback_why = NULL WHERE rollout_id = ")
        .value(rollout.id.0)
        .text(" AND status = 'pending' AND slice = ")
        .value(because.slice)
        .text(" AND (");
    condition(&mut sql);
    sql.text(") RETURNING device_uuid");
    let mut left: Vec<(Uuid,)> = sql.on(session).all().await?;
    left.sort_unstable();
    let skipped = (left.len() + failed) as u64;
    let events = left
        .into_iter()
        .map(|(device,)| told(because).device(DeviceId(device)))
        .collect();
    events::append_all(session, events).await?;
    Ok(skipped)
}

/// The event with the reason filled in.
fn told(because: &Because<'_>) -> NewEvent {
    let mut event = because.told.clone();
    if let Some(data) = event.data.as_object_mut() {
        data.insert("reason".to_owned(), because.reason.as_str().into());
    }
    event
}
