//! What a rollout of a scope would be.

use super::{Scope, ScopeRow, Spread};
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
    /// How those who are not skipped are spread over the order of the rollout.
    pub spread: Spread,
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
    count(session, scope, &mut preview).await?;
    if limit == 0 {
        return Ok(preview);
    }
    let now = session.now();
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

/// Counts the devices of a scope in one reading of it.
async fn count(session: &mut Session, scope: &Scope, preview: &mut Preview) -> Result<()> {
    /// Reason, value, chosen, part of the order, devices.
    type Count = (Option<String>, Option<String>, i64, i64, i64);
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text(
        "SELECT x.reason, CASE WHEN x.reason IS NULL THEN x.value END, \
         CAST(CASE WHEN x.reason IS NULL THEN x.chosen ELSE 0 END AS BIGINT), \
         CAST(CASE WHEN x.reason IS NULL THEN ",
    );
    Spread::part(&mut sql, scope);
    sql.text(" ELSE 0 END AS BIGINT), COUNT(*) FROM (");
    scope.rows(&mut sql, now, None);
    sql.text(") x GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3 DESC, 4");
    let counts: Vec<Count> = sql.on(session).all().await?;
    for (reason, value, chosen, part, devices) in counts {
        if let Some(reason) = reason {
            let reason = parse("device_rollout_status.reason", &reason)?;
            *preview.skipped.entry(reason).or_default() += devices;
            continue;
        }
        preview.eligible += devices;
        if scope.batch_by.is_none() {
            preview.spread.add(chosen, part, devices);
        }
        let chosen = if chosen == 1 { devices } else { 0 };
        match preview.groups.last_mut() {
            Some(group) if group.value == value => {
                group.devices += devices;
                group.chosen += chosen;
            }
            _ => preview.groups.push(Group {
                value,
                devices,
                chosen,
            }),
        }
    }
    Ok(())
}
