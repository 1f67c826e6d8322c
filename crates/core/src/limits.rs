//! How many devices may be admitted now, and when more may. See docs/adr/0010-gates.md.

use crate::plan::Limit;
use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::facts::Slice;
use windlass_types::policy::{Limits, Ramp};

/// What the limits are counted from.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// Devices of the rollout, in all its batches.
    pub devices: i64,
    /// Devices of it that are on their way.
    pub in_flight: i64,
    /// Devices of it that were judged healthy.
    pub successes: i64,
    /// Slices admitted in the last minute.
    pub lately: &'a [Slice],
    /// Devices admitted at this very moment, not yet among those slices.
    pub just_now: i64,
    /// When those on their way are judged at the latest.
    pub judged_by: Option<DateTime<Utc>>,
}

/// A limit that lets nobody through now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub limit: Limit,
    /// When it lets the next one through: at the latest, where that depends on verdicts.
    pub until: Option<DateTime<Utc>>,
}

/// How many devices may be admitted now, at least one; [`i64::MAX`] where nothing is limited. Limits
/// by tag are not among these: only the store can count them.
///
/// # Errors
/// The limit that lets nobody through; devices in flight first.
pub fn free(limits: &Limits, used: &Use<'_>, now: DateTime<Utc>) -> Result<i64, Held> {
    let mut free = i64::MAX;
    if let Some(at_most) = in_flight(limits, used.devices) {
        free = at_most.saturating_sub(used.in_flight);
        if free <= 0 {
            return Err(Held {
                limit: Limit::InFlight {
                    in_flight: used.in_flight,
                    at_most,
                },
                until: used.judged_by,
            });
        }
    }
    if let Some(ramp) = &limits.per_minute {
        free = free.min(per_minute(ramp, used, now)?);
    }
    Ok(free)
}

/// How many devices of a rollout may be in flight; none where that is not limited.
#[must_use]
pub fn in_flight(limits: &Limits, devices: i64) -> Option<i64> {
    let count = limits.max_in_flight.map(i64::from);
    let share = limits.max_in_flight_percent.map(|percent| {
        let share = devices.saturating_mul(i64::from(percent)) / 100;
        // A share of a small fleet is still one device, or nothing would ever move.
        share.max(1)
    });
    [count, share].into_iter().flatten().min()
}

/// Devices a minute at the present step of a ramp: at least one.
#[must_use]
pub fn rate(ramp: &Ramp, successes: i64) -> i64 {
    let cap = i64::from(ramp.max.unwrap_or(u32::MAX)).max(1);
    let steps = successes.max(0) / i64::from(ramp.after_successes.max(1));
    // A factor is 1 to 10, so it either stays 1 or reaches the cap within a few thousand steps.
    let steps = i32::try_from(steps).unwrap_or(i32::MAX);
    let rate = f64::from(ramp.base) * ramp.factor.max(1.0).powi(steps);
    if rate >= cap as f64 {
        return cap;
    }
    // Below the cap, which is a u32; not a number and less than one become one.
    whole(rate).max(1)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "called with a number below a u32; `as` saturates and makes 0 of what is no number"
)]
fn whole(number: f64) -> i64 {
    number.floor() as i64
}

fn per_minute(ramp: &Ramp, used: &Use<'_>, now: DateTime<Utc>) -> Result<i64, Held> {
    let at_most = rate(ramp, used.successes);
    let minute = TimeDelta::minutes(1);
    let mut lately: Vec<Slice> = used
        .lately
        .iter()
        .filter(|slice| now < slice.at + minute)
        .copied()
        .collect();
    lately.sort_by_key(|slice| slice.at);
    if used.just_now > 0 {
        lately.push(Slice {
            at: now,
            devices: used.just_now,
        });
    }
    let admitted = lately
        .iter()
        .fold(0, |sum: i64, slice| sum.saturating_add(slice.devices));
    if admitted < at_most {
        return Ok(at_most - admitted);
    }
    // The oldest slices leave the minute first; the one that makes room says when.
    let mut left = admitted;
    let room = lately.iter().find(|slice| {
        left = left.saturating_sub(slice.devices);
        left < at_most
    });
    Err(Held {
        limit: Limit::PerMinute { admitted, at_most },
        until: room.map(|slice| slice.at + minute),
    })
}

#[cfg(test)]
mod tests;
