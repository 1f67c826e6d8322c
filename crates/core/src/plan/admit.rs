//! The gates before a batch that are about its devices: windows and limits. What they let through is
//! a slice; a batch may need many.

use super::{Edge, Limit, Wait, Work};
use crate::limits::{self, Held, Use};
use crate::windows;
use chrono::{DateTime, Utc};
use windlass_types::facts::ZoneWaiting;

impl Work<'_> {
    /// The next slice of a batch, or what holds its devices. No edge where nobody in it is pending.
    pub(super) fn admission(&self, batch: i64) -> Result<Option<Edge>, Wait> {
        let pending = self.pending_up_to(batch);
        if pending == 0 {
            return Ok(None);
        }
        let waiting = &self.facts.waiting;
        if waiting.batch != batch {
            // The facts were read while somebody moved the rollout on: they are read again.
            return Err(self.retry(batch, pending, self.now));
        }
        let rule = &self.rollout.rule;
        let is_open = |zone: &&ZoneWaiting| {
            windows::is_open(
                &rule.maintenance_windows,
                zone.time_zone.as_deref(),
                self.now,
            )
        };
        let open: Vec<_> = waiting.zones.iter().filter(is_open).collect();
        let sum = |count: fn(&ZoneWaiting) -> i64| {
            open.iter()
                .fold(0, |sum: i64, zone| sum.saturating_add(count(zone)))
        };
        let due = sum(|zone| zone.pending - zone.later) - self.admitted;
        let later = sum(|zone| zone.later);
        if due <= 0 {
            return Err(self.not_due(batch, later));
        }
        let admissible = due.min(waiting.admissible - self.admitted);
        if admissible <= 0 {
            let tags = rule.limits.max_unavailable.keys().cloned().collect();
            return Err(Wait::Limit {
                batch,
                devices: due,
                limit: Limit::Unavailable { tags },
                until: None,
            });
        }
        let free = self.free().map_err(|held| Wait::Limit {
            batch,
            devices: due,
            limit: held.limit,
            until: held.until,
        })?;
        let all = open.len() == waiting.zones.len();
        let zones = open.iter().map(|zone| zone.time_zone.clone());
        Ok(Some(Edge::Admitted {
            batch,
            at_most: free.min(admissible),
            time_zones: (!all).then(|| zones.collect()),
        }))
    }

    /// Nobody whose window is open is due: the rest waits for a window or for a retry, whatever is
    /// first.
    fn not_due(&self, batch: i64, later: i64) -> Wait {
        let rule = &self.rollout.rule;
        let closed = self.facts.waiting.zones.iter().filter(|zone| {
            !windows::is_open(
                &rule.maintenance_windows,
                zone.time_zone.as_deref(),
                self.now,
            )
        });
        let (mut devices, mut zones, mut opens_at) = (0_i64, Vec::new(), None::<DateTime<Utc>>);
        for zone in closed {
            devices = devices.saturating_add(zone.pending);
            zones.push(zone.time_zone.clone());
            let opens = windows::opens_at(
                &rule.maintenance_windows,
                zone.time_zone.as_deref(),
                self.now,
            );
            opens_at = [opens_at, opens].into_iter().flatten().min();
        }
        zones.sort();
        let retry = self.facts.waiting.retry_at.filter(|_| later > 0);
        match retry {
            Some(at) if opens_at.is_none_or(|opens| at <= opens) => self.retry(batch, later, at),
            _ if devices > 0 => Wait::Window {
                batch,
                devices,
                zones,
                opens_at,
            },
            _ => self.retry(batch, self.pending_up_to(batch), self.now),
        }
    }

    fn retry(&self, batch: i64, devices: i64, at: DateTime<Utc>) -> Wait {
        Wait::Retry { batch, devices, at }
    }

    fn free(&self) -> Result<i64, Held> {
        let sum = |count: fn(&windlass_types::rollout::BatchProgress) -> i64| {
            self.batches
                .iter()
                .fold(0, |sum: i64, p| sum.saturating_add(count(p)))
        };
        limits::free(
            &self.rollout.rule.limits,
            &Use {
                devices: self.rollout.total_devices,
                in_flight: sum(windlass_types::rollout::BatchProgress::in_flight),
                successes: sum(|p| p.attempted - p.attempted_failed),
                lately: &self.facts.admitted_lately,
                just_now: self.admitted,
                judged_by: self.facts.devices_until,
            },
            self.now,
        )
    }

    /// Admits so many in thought, those of the earliest batches first.
    pub(super) fn admit(&mut self, batch: i64, devices: i64) {
        let mut left = devices;
        for progress in self.batches.iter_mut().filter(|p| p.batch <= batch) {
            let moved = progress.pending.min(left).max(0);
            progress.pending -= moved;
            progress.scheduled += moved;
            left -= moved;
            if progress.batch < batch {
                self.tried_again += moved;
            }
        }
        self.admitted += devices;
    }
}
