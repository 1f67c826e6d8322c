//! What has changed since a plan was shown.

use crate::build::Build;
use crate::db::Session;
use crate::error::{Result, parse};
use crate::rollouts::{Scope, place};
use uuid::Uuid;
use windlass_core::batches::Layout;
use windlass_types::ids::{DeviceId, PlanId};
use windlass_types::rollout::SkipReason;

/// A device that is not where the plan has it. `Display` says it in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The device.
    pub device: DeviceId,
    /// Its batch and why it would be skipped, in the plan; none where it was not in it.
    pub planned: Option<(i64, Option<SkipReason>)>,
    /// The same now.
    pub now: Option<(i64, Option<SkipReason>)>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let says = |place: &(i64, Option<SkipReason>)| match place {
            (_, Some(skip)) => format!("skipped ({})", skip.as_str().replace('_', " ")),
            (batch, None) => format!("in batch {batch}"),
        };
        let device = self.device;
        match (&self.planned, &self.now) {
            (None, Some(now)) => write!(f, "device {device} joined, {}", says(now)),
            (Some(was), None) => write!(f, "device {device} left; it was {}", says(was)),
            (Some(was), Some(now)) => {
                write!(
                    f,
                    "device {device} is {} instead of {}",
                    says(now),
                    says(was)
                )
            }
            (None, None) => write!(f, "device {device} is gone"),
        }
    }
}

/// How many devices are not where the plan has them, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many.
    pub devices: i64,
    /// The first few, in the order of their uuids.
    pub first: Vec<Change>,
}

type Row = (
    Uuid,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<String>,
);

/// Compares a kept plan with what the same rollout would be now, and gives up to `limit` of the devices
/// that are elsewhere.
///
/// # Errors
/// Whatever the database says.
pub async fn changes(
    session: &mut Session,
    id: PlanId,
    scope: &Scope,
    layout: &Layout,
    limit: i64,
) -> Result<Changes> {
    let (devices,): (i64,) = {
        let mut sql = Build::new(session.kind());
        sql.text("SELECT COUNT(*) FROM (");
        differing(&mut sql, session, id, scope, layout);
        sql.text(") c");
        sql.on(session).one().await?
    };
    if devices == 0 {
        return Ok(Changes::default());
    }
    let mut sql = Build::new(session.kind());
    differing(&mut sql, session, id, scope, layout);
    sql.text(" ORDER BY 1 LIMIT ").value(limit);
    let rows: Vec<Row> = sql.on(session).all().await?;
    let place = |batch: Option<i64>, skip: Option<String>| -> Result<_> {
        let skip = skip
            .map(|text| parse("rollout_plan_devices.skip", &text))
            .transpose()?;
        Ok(batch.map(|batch| (batch, skip)))
    };
    let mut first = Vec::with_capacity(rows.len());
    for (device, was, was_skip, is, is_skip) in rows {
        first.push(Change {
            device: DeviceId(device),
            planned: place(was, was_skip)?,
            now: place(is, is_skip)?,
        });
    }
    Ok(Changes { devices, first })
}

fn differing(sql: &mut Build, session: &Session, id: PlanId, scope: &Scope, layout: &Layout) {
    sql.text(
        "SELECT COALESCE(p.device_uuid, n.uuid) AS device, p.batch AS was, p.skip AS was_skip, \
         n.batch AS is_now, n.reason AS is_skip \
         FROM (SELECT device_uuid, batch, skip FROM rollout_plan_devices WHERE plan_id = ",
    )
    .value(id.0)
    .text(") p FULL JOIN (");
    if scope.moved.is_empty() {
        // Nobody runs the repository any more.
        sql.text("SELECT device_uuid AS uuid, skip AS reason, batch FROM rollout_plan_devices WHERE 1 = 0");
    } else {
        place(sql, session.kind(), scope, layout, session.now());
    }
    sql.text(
        ") n ON n.uuid = p.device_uuid WHERE p.device_uuid IS NULL OR n.uuid IS NULL \
         OR p.batch <> n.batch OR p.skip IS DISTINCT FROM n.reason",
    );
}
