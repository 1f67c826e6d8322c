//! When the batches of a rollout would begin and end at the earliest: for people who look at a plan.
//!
//! Every device is healthy as soon as its rule lets it be, checks pass at once, and devices whose window
//! opens first come first. Limits by tag are not counted: only the store knows who is unavailable.

use super::gates::{approved, pause_after, thaw};
use crate::limits::{self, Use};
use crate::windows;
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;
use windlass_types::facts::Slice;
use windlass_types::freeze::Freeze;
use windlass_types::policy::RolloutRule;

/// Slices looked at: an estimate beyond so many is no help to anybody.
const SLICES: usize = 20_000;

/// What an estimate rests on.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The rule.
    pub rule: &'a RolloutRule,
    /// Devices of each batch, first to last.
    pub sizes: &'a [i64],
    /// The time zones of the devices; none for those without one.
    pub zones: &'a [Option<String>],
    /// The freezes in force or to come.
    pub freezes: &'a [Freeze],
    /// The time.
    pub now: DateTime<Utc>,
}

/// When a batch is on its way, at the earliest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// When its first device is admitted.
    pub starts_at: DateTime<Utc>,
    /// When its last device is judged.
    pub ends_at: DateTime<Utc>,
}

/// What cannot be told, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// A person approves this batch.
    Approval(i64),
    /// A freeze without an end holds this batch.
    Freeze(i64),
    /// No window opens for this batch within the days looked at.
    Window(i64),
    /// This batch takes too many steps.
    Far(i64),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Approval(batch) => write!(f, "batch {batch} waits for approval"),
            Self::Freeze(batch) => write!(f, "batch {batch} waits for a freeze to be lifted"),
            Self::Window(batch) => write!(f, "no window opens for batch {batch}"),
            Self::Far(batch) => write!(f, "batch {batch} is admitted in too many slices to tell"),
        }
    }
}

/// When the batches would be on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// The batches from the first on, as far as it can be told.
    pub batches: Vec<Times>,
    /// Why the others cannot be told; none where all are.
    pub unknown: Option<Unknown>,
}

impl Estimate {
    /// When the rollout ends at the earliest; none where that cannot be told.
    #[must_use]
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        let last = self.batches.last().filter(|_| self.unknown.is_none())?;
        Some(last.ends_at)
    }
}

/// Tells when the batches of a rollout would be on their way if it were made now.
#[must_use]
pub fn estimate(given: &Given<'_>) -> Estimate {
    let mut batches = Vec::new();
    let mut fleet = Fleet::default();
    let mut at = given.now;
    for (batch, size) in (1_i64..).zip(given.sizes) {
        match given.batch(batch, *size, at, &mut fleet) {
            Ok(times) => {
                at = times.ends_at + TimeDelta::seconds(given.pause_after(batch));
                batches.push(times);
            }
            Err(unknown) => {
                return Estimate {
                    batches,
                    unknown: Some(unknown),
                };
            }
        }
    }
    Estimate {
        batches,
        unknown: None,
    }
}

/// Devices admitted so far.
#[derive(Default)]
struct Fleet {
    /// Healthy ones.
    successes: i64,
    /// Slices of the last minute.
    lately: Vec<Slice>,
    /// Slices on their way, each with the time of its verdict.
    on_the_way: Vec<Slice>,
}

impl Fleet {
    fn pass(&mut self, now: DateTime<Utc>) {
        let minute = TimeDelta::minutes(1);
        self.lately.retain(|slice| now < slice.at + minute);
        let successes = &mut self.successes;
        self.on_the_way.retain(|slice| {
            let judged = slice.at <= now;
            if judged {
                *successes += slice.devices;
            }
            !judged
        });
    }
}

impl Given<'_> {
    fn batches(&self) -> i64 {
        i64::try_from(self.sizes.len()).unwrap_or(i64::MAX)
    }

    fn pause_after(&self, batch: i64) -> i64 {
        pause_after(self.rule, self.rule.strategy, batch, self.batches())
    }

    fn batch(
        &self,
        batch: i64,
        size: i64,
        from: DateTime<Utc>,
        fleet: &mut Fleet,
    ) -> Result<Times, Unknown> {
        if approved(self.rule, self.rule.strategy, batch).is_some() {
            return Err(Unknown::Approval(batch));
        }
        let starts_at = self.rule.starts_at.filter(|_| batch == 1);
        let mut at = self.open(batch, starts_at.map_or(from, |starts| starts.max(from)))?;
        let began = at;
        let stable = i64::from(self.rule.health_of(batch).stable_window_seconds);
        let (mut left, mut ends_at) = (size, at);
        for _ in 0..SLICES {
            if left <= 0 {
                fleet.pass(ends_at);
                return Ok(Times {
                    starts_at: began,
                    ends_at,
                });
            }
            fleet.pass(at);
            let used = Use {
                devices: self.sizes.iter().sum(),
                in_flight: fleet.on_the_way.iter().map(|slice| slice.devices).sum(),
                successes: fleet.successes,
                lately: &fleet.lately,
                just_now: 0,
                judged_by: fleet.on_the_way.iter().map(|slice| slice.at).min(),
            };
            match limits::free(&self.rule.limits, &used, at) {
                Ok(free) => {
                    let devices = free.min(left);
                    left -= devices;
                    ends_at = at + TimeDelta::seconds(stable);
                    fleet.lately.push(Slice { at, devices });
                    let at = ends_at;
                    fleet.on_the_way.push(Slice { at, devices });
                }
                Err(held) => {
                    let Some(until) = held.until.filter(|until| at < *until) else {
                        return Err(Unknown::Far(batch));
                    };
                    at = self.open(batch, until)?;
                }
            }
        }
        Err(Unknown::Far(batch))
    }

    /// The first moment from now on at which no freeze is in force and a window is open.
    fn open(&self, batch: i64, from: DateTime<Utc>) -> Result<DateTime<Utc>, Unknown> {
        let mut at = from;
        // Each turn goes past the end of a freeze, or is the last.
        loop {
            let thawed = thaw(|| self.freezes.iter(), at).ok_or(Unknown::Freeze(batch))?;
            let opens = |zone: Option<&str>| {
                windows::opens_at(&self.rule.maintenance_windows, zone, thawed)
            };
            let opened = if self.zones.is_empty() {
                opens(None)
            } else {
                let zones = self.zones.iter();
                zones.filter_map(|zone| opens(zone.as_deref())).min()
            };
            let opened = opened.ok_or(Unknown::Window(batch))?;
            if opened == thawed && thawed == at {
                return Ok(at);
            }
            at = opened;
        }
    }
}

#[cfg(test)]
mod tests;
