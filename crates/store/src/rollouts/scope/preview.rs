//! What a rollout of a scope would be.

use super::{Scope, ScopeRow};
use crate::build::Build;
use crate::db::Session;
use crate::error::{Result, parse};
use std::collections::BTreeMap;
use windlass_core::batches::Group;
use windlass_types::ids::DeviceId;
use windlass_types::rollout::SkipReason;

/// What a rollout of a scope would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// How many devices it would be admitted to, batch by batch.
    pub eligible: i64,
    /// The same by value of the tag of the batches: what `batches::layout` deals out.
    pub groups: Vec<Group>,
    /// How many it would skip, by reason.
    pub skipped: BTreeMap<SkipReason, i64>,
    /// The first devices: those in the batches by their place, then the skipped ones.
    pub devices: Vec<PreviewDevice>,
}

impl Preview {
    /// All devices in scope.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.eligible + self.skipped.values().sum::<i64>()
    }

    /// Whether there are devices, and all of them are skipped for this reason.
    #[must_use]
    pub fn only(&self, reason: SkipReason) -> bool {
        self.eligible == 0 && self.skipped.len() == 1 && self.skipped.contains_key(&reason)
    }
}

/// A device of a [`Preview`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewDevice {
    /// The device.
    pub device: DeviceId,
    /// Its value of the tag of the batches.
    pub value: Option<String>,
    /// Its place, from 1, among those of its value in the order of the rollout; the batch is
    /// `Layout::batch_of` of both. Of skipped devices it is the place among the skipped.
    pub place: i64,
    /// Why it would be skipped.
    pub skip: Option<SkipReason>,
}

/// What a rollout of this scope would be, with at most `limit` of its devices. Writes nothing.
///
/// # Errors
/// Whatever the database says.
pub async fn preview(session: &mut Session, scope: &Scope, limit: i64) -> Result<Preview> {
    let mut preview = Preview::default();
    if scope.moved.is_empty() {
        return Ok(preview);
    }
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text(
        "SELECT reason, CASE WHEN reason IS NULL THEN value END AS value, COUNT(*), \
         CAST(SUM(chosen) AS BIGINT) FROM (",
    );
    scope.query(&mut sql, now, None);
    sql.text(") y GROUP BY 1, 2 ORDER BY 1, 2");
    let counts: Vec<(Option<String>, Option<String>, i64, i64)> = sql.on(session).all().await?;
    for (reason, value, devices, chosen) in counts {
        match reason {
            None => {
                preview.eligible += devices;
                preview.groups.push(Group {
                    value,
                    devices,
                    chosen,
                });
            }
            Some(reason) => {
                let reason = parse("device_rollout_status.reason", &reason)?;
                preview.skipped.insert(reason, devices);
            }
        }
    }
    if limit == 0 {
        return Ok(preview);
    }
    let mut sql = Build::new(session.kind());
    sql.text("SELECT uuid, reason, value, place FROM (");
    scope.query(&mut sql, now, None);
    sql.text(
        ") y ORDER BY CASE WHEN reason IS NULL THEN 0 ELSE 1 END, place, COALESCE(value, '') LIMIT ",
    )
    .value(limit);
    let rows: Vec<ScopeRow> = sql.on(session).all().await?;
    for row in rows {
        let reason = row.reason.as_deref();
        preview.devices.push(PreviewDevice {
            device: DeviceId(row.uuid),
            value: row.value,
            place: row.place,
            skip: reason
                .map(|reason| parse("device_rollout_status.reason", reason))
                .transpose()?,
        });
    }
    Ok(preview)
}
