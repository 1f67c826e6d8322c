//! How the devices of a scope are spread over the order of the rollout, coarsely: enough to find the device
//! that ends a batch by reading a thousandth of them, so that nobody has to sort them all.

use super::Scope;
use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_core::batches::Layout;

/// The width of a part of the order: a 1024th of the numbers below the prime.
const PART: i64 = 1 << 21;

/// How many devices there are in each part of the order. Empty where that was not counted: then the places
/// of all devices are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// By whether they come later than those chosen for the first batch, and by part.
    parts: BTreeMap<(i64, i64), i64>,
}

/// The last device of a batch that is not the last one: everybody up to it is in that batch or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::rollouts) struct End {
    /// 0 where it is chosen for the first batch, else 1.
    later: i64,
    key: i64,
    device: Uuid,
    /// The batch, from 1.
    pub(in crate::rollouts) batch: i64,
}

impl Spread {
    /// The part of a device's row `x`, where parts are counted.
    pub(super) fn part(sql: &mut Build, scope: &Scope) {
        if scope.batch_by.is_none() {
            sql.text("x.order_key / ").value(PART);
        } else {
            sql.text("0");
        }
    }

    pub(super) fn add(&mut self, chosen: i64, part: i64, devices: i64) {
        *self.parts.entry((1 - chosen, part)).or_default() += devices;
    }

    /// The part in which this place is, from 1, and the place among the devices of that part.
    fn find(&self, place: i64) -> Option<((i64, i64), i64)> {
        let mut before = 0;
        for (part, devices) in &self.parts {
            if place <= before + devices {
                return Some((*part, place - before));
            }
            before += devices;
        }
        None
    }
}

impl End {
    /// That a device's row `x` is not after it.
    pub(in crate::rollouts) fn reaches(&self, sql: &mut Build) {
        sql.text("(1 - x.chosen, x.order_key, x.uuid) <= (")
            .value(self.later)
            .text(", ")
            .value(self.key)
            .text(", ")
            .value(self.device)
            .text(")");
    }
}

/// The devices that end the batches of a layout, but for the last, in order; none where that is not to be
/// told without the places of all. In a snapshot with the counting of the spread.
///
/// # Errors
/// Whatever the database says.
pub(in crate::rollouts) async fn ends(
    session: &mut Session,
    scope: &Scope,
    layout: &Layout,
    spread: &Spread,
) -> Result<Option<Vec<End>>> {
    let ranges = layout.ranges();
    if ranges.iter().any(|range| range.value.is_some()) || scope.batch_by.is_some() {
        return Ok(None);
    }
    let inner = ranges.iter().filter(|range| range.batch < layout.batches());
    // Where each of them is: its part, its place there, its batch.
    let mut wanted = Vec::new();
    for range in inner {
        let Some((part, place)) = spread.find(range.upto) else {
            return Ok(None);
        };
        wanted.push((part, place, range.batch));
    }
    let parts: BTreeSet<(i64, i64)> = wanted.iter().map(|(part, ..)| *part).collect();
    if parts.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let devices = of_parts(session, scope, &parts).await?;
    let mut ends = Vec::with_capacity(wanted.len());
    for (part, place, batch) in wanted {
        let first = devices.partition_point(|(later, key, _)| (*later, key / PART) < part);
        let at = usize::try_from(place - 1).unwrap_or(usize::MAX);
        let Some((later, key, device)) = devices.get(first.saturating_add(at)) else {
            return Ok(None);
        };
        ends.push(End {
            later: *later,
            key: *key,
            device: *device,
            batch,
        });
    }
    ends.sort_unstable();
    Ok(Some(ends))
}

/// The devices of these parts that are not skipped, in order.
async fn of_parts(
    session: &mut Session,
    scope: &Scope,
    parts: &BTreeSet<(i64, i64)>,
) -> Result<Vec<(i64, i64, Uuid)>> {
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text("SELECT CAST(1 - x.chosen AS BIGINT), x.order_key, x.uuid FROM (");
    scope.rows(&mut sql, now, None);
    sql.text(") x WHERE x.reason IS NULL AND (1 = 0");
    for (later, part) in parts {
        sql.text(" OR (1 - x.chosen = ")
            .value(*later)
            .text(" AND x.order_key >= ")
            .value(part * PART)
            .text(" AND x.order_key < ")
            .value((part + 1) * PART)
            .text(")");
    }
    sql.text(") ORDER BY 1, 2, 3");
    sql.on(session).all().await
}
