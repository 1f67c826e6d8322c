//! How often a registry may be asked, by everybody together.

use crate::rate::{Rate, background_pause, failure_pause, foreground_pause};
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a registry is left alone that wants fewer requests and does not say for how long.
const UNTOLD: Duration = Duration::from_secs(60);

/// A request that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave {
    /// Whether it can wait: it leaves a share of every limit for what ships, and keeps away from a
    /// registry in trouble.
    pub background: bool,
    /// Whether it counts against the registry's own limit as far as is known; Docker Hub counts no
    /// HEAD.
    pub counted: bool,
}

/// Why nothing is to be asked now, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// In words.
    pub reason: String,
    /// For how long.
    pub wait: Duration,
}

/// What an answer says about asking again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Its limit.
    pub rate: Rate,
    /// Whether it was a 429.
    pub limited: bool,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether there was no answer, or only that something is broken.
    pub failed: bool,
}

/// How long what kind of request is not made, from now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pauses {
    /// Any.
    pub all: Option<Duration>,
    /// Those that count against the registry's limit.
    pub counted: Option<Duration>,
    /// Those that can wait.
    pub background: Option<Duration>,
    /// Those that count and can wait.
    pub background_counted: Option<Duration>,
}

impl Told {
    /// What to keep from, after so many answers in a row that were none. `jitter` (0 to 1) keeps those
    /// who failed together from coming back together.
    #[must_use]
    pub fn pauses(&self, failures: u32, jitter: f64) -> Pauses {
        Pauses {
            all: self.limited.then(|| self.retry_after.unwrap_or(UNTOLD)),
            counted: foreground_pause(&self.rate),
            background: self
                .failed
                .then(|| failure_pause(failures, jitter).max(self.retry_after.unwrap_or_default())),
            background_counted: background_pause(&self.rate),
        }
    }
}

impl Leave {
    /// Until when it is to wait, given until when each kind of request is.
    pub fn until<T: Ord + Copy>(
        &self,
        all: Option<T>,
        counted: Option<T>,
        background: Option<T>,
        background_counted: Option<T>,
    ) -> Option<T> {
        all.max(counted.filter(|_| self.counted))
            .max(background.filter(|_| self.background))
            .max(background_counted.filter(|_| self.background && self.counted))
    }
}

/// How often each registry may be asked. One for all replicas is kept in the store by those who have
/// one; [`LocalBudget`] is the one of a process alone.
pub trait Budget: std::fmt::Debug + Send + Sync {
    /// Asks for leave to make one request; it is spent whatever becomes of the request.
    fn leave<'a>(&'a self, registry: &'a str, leave: Leave) -> BoxFuture<'a, Result<(), Refused>>;
    /// Tells what an answer said.
    fn told<'a>(&'a self, registry: &'a str, told: Told) -> BoxFuture<'a, ()>;
}

/// A budget of this process alone.
#[derive(Debug, Default)]
pub struct LocalBudget {
    hosts: Mutex<HashMap<String, Until>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Until {
    all: Option<Instant>,
    counted: Option<Instant>,
    background: Option<Instant>,
    background_counted: Option<Instant>,
    failures: u32,
}

impl Budget for LocalBudget {
    fn leave<'a>(&'a self, registry: &'a str, leave: Leave) -> BoxFuture<'a, Result<(), Refused>> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let until = hosts.get(registry).copied().unwrap_or_default();
        drop(hosts);
        let wait = leave
            .until(
                until.all,
                until.counted,
                until.background,
                until.background_counted,
            )
            .and_then(|until| until.checked_duration_since(Instant::now()))
            .filter(|wait| !wait.is_zero());
        Box::pin(std::future::ready(wait.map_or(Ok(()), |wait| {
            Err(Refused {
                reason: "it asked for fewer requests, or does not answer".to_owned(),
                wait,
            })
        })))
    }

    fn told<'a>(&'a self, registry: &'a str, told: Told) -> BoxFuture<'a, ()> {
        let now = Instant::now();
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let until = hosts.entry(registry.to_owned()).or_default();
        until.failures = if told.failed {
            until.failures.saturating_add(1)
        } else {
            0
        };
        // Alone there is nobody to keep out of step with.
        let pauses = told.pauses(until.failures, 1.0);
        let later = |before: &mut Option<Instant>, pause: Option<Duration>| {
            *before = pause.and_then(|pause| now.checked_add(pause)).max(*before);
        };
        later(&mut until.all, pauses.all);
        later(&mut until.counted, pauses.counted);
        later(&mut until.background, pauses.background);
        later(&mut until.background_counted, pauses.background_counted);
        drop(hosts);
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPS: Leave = Leave {
        background: false,
        counted: true,
    };
    const PATIENT: Leave = Leave {
        background: true,
        counted: true,
    };
    const FREE: Leave = Leave {
        background: true,
        counted: false,
    };

    async fn may(budget: &LocalBudget, leave: Leave) -> bool {
        budget.leave("r.io", leave).await.is_ok()
    }

    #[tokio::test]
    async fn what_each_answer_keeps_from_whom() {
        let low = Rate {
            limit: Some(100),
            remaining: Some(5),
            ..Rate::default()
        };
        let none = Rate {
            remaining: Some(0),
            ..low
        };
        let told = Told::default();
        // (what, told, ships, patient, free)
        let cases = [
            ("nothing", told, true, true, true),
            (
                "little is left",
                Told { rate: low, ..told },
                true,
                false,
                true,
            ),
            (
                "nothing is left",
                Told { rate: none, ..told },
                false,
                false,
                true,
            ),
            (
                "trouble",
                Told {
                    failed: true,
                    ..told
                },
                true,
                false,
                false,
            ),
            (
                "a 429",
                Told {
                    limited: true,
                    ..told
                },
                false,
                false,
                false,
            ),
        ];
        for (what, told, ships, patient, free) in cases {
            let budget = LocalBudget::default();
            budget.told("r.io", told).await;
            assert_eq!(may(&budget, SHIPS).await, ships, "{what}");
            assert_eq!(may(&budget, PATIENT).await, patient, "{what}");
            assert_eq!(may(&budget, FREE).await, free, "{what}");
            assert!(budget.leave("other.io", PATIENT).await.is_ok(), "{what}");
        }
    }
}
