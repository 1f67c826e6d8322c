//! Probes: one task for each container, beside the loop.

use super::attempt::{Outcome, Place, cut, over_network};
use chrono::{DateTime, Utc};
use futures_util::future;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use windlass_engine::{Engine, Found};
use windlass_reconcile::observed::{Container, Health, ProbeResult, ProbeResults};
use windlass_reconcile::spec::{Probe, ProbeKind, Probes};

/// Probes what runs, and keeps what each probe said since the container's last start.
#[derive(Debug)]
pub(super) struct Prober {
    engine: Arc<Engine>,
    changed: Arc<Notify>,
    probed: Mutex<BTreeMap<String, Probed>>,
}

/// One container that is probed.
#[derive(Debug)]
struct Probed {
    started_at: Option<DateTime<Utc>>,
    probes: Probes,
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Drop for Probed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a container's task and the loop both see.
#[derive(Debug, Default)]
struct Shared {
    place: Mutex<Place>,
    results: Mutex<ProbeResults>,
}

impl Prober {
    pub(super) fn new(engine: Arc<Engine>, changed: Arc<Notify>) -> Self {
        Self {
            engine,
            changed,
            probed: Mutex::new(BTreeMap::new()),
        }
    }

    /// Probes these containers from now on and no others. One that was started again or has other probes begins anew.
    pub(super) fn probe(&self, found: &[(Found, Container)], probes: &BTreeMap<String, &Probes>) {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *probed);
        for (one, _) in found {
            let Some(probes) = probes
                .get(&one.id)
                .filter(|probes| ***probes != Probes::default())
            else {
                continue;
            };
            let same = before
                .remove(&one.id)
                .filter(|known| known.started_at == one.started_at && known.probes == **probes);
            let entry = same.unwrap_or_else(|| self.begin(one, (*probes).clone()));
            let mut place = lock(&entry.shared.place);
            *place = Place::of(one);
            drop(place);
            probed.insert(one.id.clone(), entry);
        }
    }

    fn begin(&self, found: &Found, probes: Probes) -> Probed {
        let shared = Arc::new(Shared {
            place: Mutex::new(Place::of(found)),
            results: Mutex::default(),
        });
        let task = Task {
            engine: Arc::clone(&self.engine),
            changed: Arc::clone(&self.changed),
            container: found.id.clone(),
            shared: Arc::clone(&shared),
            // By no clock that may be set: an agent that comes later than the container waits once more.
            begun: Instant::now(),
        };
        Probed {
            started_at: found.started_at,
            probes: probes.clone(),
            shared,
            task: tokio::spawn(async move { task.run(&probes).await }).abort_handle(),
        }
    }

    /// What the probes of a container have said since this start.
    pub(super) fn results(&self, id: &str, started_at: Option<DateTime<Utc>>) -> ProbeResults {
        let probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        probed
            .get(id)
            .filter(|known| known.started_at == started_at)
            .map(|known| lock(&known.shared.results).clone())
            .unwrap_or_default()
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which probe of a container.
#[derive(Debug, Clone, Copy)]
enum Which<'a> {
    Startup,
    Readiness,
    Liveness,
    Check(&'a str),
}

struct Task {
    engine: Arc<Engine>,
    changed: Arc<Notify>,
    container: String,
    shared: Arc<Shared>,
    begun: Instant,
}

impl Task {
    async fn run(&self, probes: &Probes) {
        if let Some(startup) = &probes.startup {
            self.follow(Which::Startup, startup, true).await;
        }
        let readiness = self.follow_all(Which::Readiness, probes.readiness.as_ref());
        let liveness = self.follow_all(Which::Liveness, probes.liveness.as_ref());
        let checks = probes
            .checks
            .iter()
            .map(|(name, probe)| self.follow(Which::Check(name), probe, false));
        tokio::join!(readiness, liveness, future::join_all(checks));
    }

    async fn follow_all(&self, which: Which<'_>, probe: Option<&Probe>) {
        if let Some(probe) = probe {
            self.follow(which, probe, false).await;
        }
    }

    /// Tries again and again; once it has passed is enough for a startup probe.
    async fn follow(&self, which: Which<'_>, probe: &Probe, once: bool) {
        let delay = Duration::from_secs(u64::from(probe.initial_delay_seconds));
        sleep_until(self.begun + delay).await;
        let period = Duration::from_secs(u64::from(probe.period_seconds.max(1)));
        let mut tally = Tally::default();
        let mut still_runs = None;
        loop {
            let begun = Instant::now();
            let outcome = self.attempt(probe, &mut still_runs).await;
            let health = tally.count(outcome.is_ok(), probe);
            self.note(which, health, outcome);
            if once && health == Health::Healthy {
                return;
            }
            sleep(period.saturating_sub(begun.elapsed())).await;
        }
    }

    async fn attempt(&self, probe: &Probe, still_runs: &mut Option<String>) -> Outcome {
        let limit = Duration::from_secs(u64::from(probe.timeout_seconds.max(1)));
        let place = lock(&self.shared.place).clone();
        if let Some(outcome) = over_network(&probe.kind, &place, limit).await {
            return outcome;
        }
        let ProbeKind::Exec { command } = &probe.kind else {
            return Err("a probe of an unknown kind".to_owned());
        };
        // Engines cannot end a program in a container: a second one beside it would make it worse.
        if let Some(id) = still_runs.take()
            && self.engine.exec_runs(&id).await.unwrap_or(true)
        {
            *still_runs = Some(id);
            return Err("the program of the try before has not ended".to_owned());
        }
        let ran = self.engine.exec(&self.container, command, limit).await;
        let ran = ran.map_err(|error| cut(&error.to_string()))?;
        match ran.exit_code {
            Some(0) => Ok(cut(&ran.output)),
            Some(code) => Err(cut(&format!("ended with {code}: {}", ran.output))),
            None => {
                let output = ran.output;
                *still_runs = Some(ran.id);
                Err(cut(&format!(
                    "no end within {} s: {output}",
                    limit.as_secs()
                )))
            }
        }
    }

    fn note(&self, which: Which<'_>, health: Health, outcome: Outcome) {
        let result = ProbeResult {
            health,
            at: Utc::now(),
            output: outcome.unwrap_or_else(|reason| reason),
        };
        let mut results = lock(&self.shared.results);
        let before = match which {
            Which::Startup => results.startup.replace(result),
            Which::Readiness => results.readiness.replace(result),
            Which::Liveness => results.liveness.replace(result),
            Which::Check(name) => results.checks.insert(name.to_owned(), result),
        };
        drop(results);
        if before.is_none_or(|before| before.health != health) {
            self.changed.notify_one();
        }
    }
}

/// Successes and failures in a row.
#[derive(Debug, Default)]
struct Tally {
    successes: u32,
    failures: u32,
    says: Option<Health>,
}

impl Tally {
    fn count(&mut self, well: bool, probe: &Probe) -> Health {
        if well {
            self.failures = 0;
            self.successes = self.successes.saturating_add(1);
            if self.successes >= probe.success_threshold {
                self.says = Some(Health::Healthy);
            }
        } else {
            self.successes = 0;
            self.failures = self.failures.saturating_add(1);
            if self.failures >= probe.failure_threshold {
                self.says = Some(Health::Unhealthy);
            }
        }
        self.says.unwrap_or(Health::Starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_says_nothing_new_before_its_thresholds() {
        let probe = Probe {
            kind: ProbeKind::Tcp { port: 1 },
            initial_delay_seconds: 0,
            period_seconds: 1,
            timeout_seconds: 1,
            success_threshold: 2,
            failure_threshold: 3,
        };
        let mut tally = Tally::default();
        let says: Vec<Health> = [
            true, true, false, false, true, false, false, false, true, true,
        ]
        .into_iter()
        .map(|well| tally.count(well, &probe))
        .collect();
        use Health::{Healthy, Starting, Unhealthy};
        assert_eq!(
            says,
            [
                Starting, Healthy, Healthy, Healthy, Healthy, Healthy, Healthy, Unhealthy,
                Unhealthy, Healthy
            ]
        );
    }
}
