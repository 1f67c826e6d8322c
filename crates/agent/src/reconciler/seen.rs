//! For how long containers have been seen to run, by a clock that nobody sets: one that is put forward, as at the
//! first sight of a time server, must not make a new container look proven. And how often each had been restarted
//! before the agent had to do with it: what an engine counts over years says nothing of the minutes that are seen.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use tokio::time::Instant;
use windlass_reconcile::memory::{Memory, Update};
use windlass_reconcile::observed::{Container, ContainerState, Observed};

/// The runs that are seen, by container.
#[derive(Debug, Default)]
pub(super) struct Seen {
    runs: BTreeMap<String, Run>,
    /// Restarts that are not counted, by container.
    before: BTreeMap<String, u32>,
}

/// One run of a container.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The engine's word for which run it is, compared and not counted from.
    started_at: Option<DateTime<Utc>>,
    since: Instant,
    serving_since: Option<Instant>,
}

impl Seen {
    /// Tells it of each container of a look, and forgets what runs no more.
    pub(super) fn tell(&mut self, observed: &mut Observed, memory: &Memory, now: Instant) {
        let mut before = std::mem::take(&mut self.runs);
        let mut restarts = std::mem::take(&mut self.before);
        for container in &mut observed.containers {
            let first = restarts.remove(&container.id);
            // A start by hand makes engines count from nothing.
            let uncounted = first.unwrap_or(container.restarts).min(container.restarts);
            self.before.insert(container.id.clone(), uncounted);
            // Where the agent itself began to run it, each of them counts, also after a restart of the agent's.
            container.restarts_before = if is_being_tried(memory, container) {
                0
            } else {
                uncounted
            };
            if !runs(container) {
                continue;
            }
            let known = before
                .remove(&container.id)
                .filter(|run| run.started_at == container.started_at);
            let mut run = known.unwrap_or(Run {
                started_at: container.started_at,
                since: now,
                serving_since: None,
            });
            run.serving_since = container.serving.then(|| run.serving_since.unwrap_or(now));
            container.seen_seconds = seconds(now, run.since);
            container.served_seconds = run.serving_since.map_or(0, |since| seconds(now, since));
            self.runs.insert(container.id.clone(), run);
        }
    }
}

/// Whether a container is of an update that the agent has begun, or of one that has failed.
fn is_being_tried(memory: &Memory, container: &Container) -> bool {
    let print = &container.fingerprint;
    memory.of(container.service).is_some_and(|of| {
        let begun = |update: &Update| update.started_at.is_some() && update.fingerprint == *print;
        of.update.as_ref().is_some_and(begun)
            || of
                .failed
                .as_ref()
                .is_some_and(|failed| failed.fingerprint == *print)
    })
}

fn runs(container: &Container) -> bool {
    matches!(
        container.state,
        ContainerState::Running | ContainerState::Paused
    )
}

fn seconds(now: Instant, since: Instant) -> u32 {
    u32::try_from(now.saturating_duration_since(since).as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use windlass_reconcile::memory::ServiceMemory;
    use windlass_reconcile::observed::ProbeResults;
    use windlass_reconcile::spec::ServiceKey;

    fn container(state: ContainerState, serving: bool, started: &str) -> Container {
        Container {
            id: "c".to_owned(),
            name: "web".to_owned(),
            service: ServiceKey { app: 1, service: 1 },
            service_name: "web".to_owned(),
            app_name: "demo".to_owned(),
            fingerprint: String::new(),
            image: String::new(),
            image_id: String::new(),
            state,
            serving,
            started_at: Some(started.parse().unwrap()),
            finished_at: None,
            exit_code: None,
            oom_killed: false,
            restarts: 0,
            health: None,
            healthcheck: None,
            ports: Vec::new(),
            stop_seconds: None,
            probes: ProbeResults::default(),
            seen_seconds: 0,
            served_seconds: 0,
            restarts_before: 0,
        }
    }

    #[test]
    fn a_run_is_counted_from_when_it_was_first_seen_whatever_the_clocks_say() {
        use ContainerState::{Paused, Restarting, Running};
        let (first, second) = ("2026-11-21T12:00:00Z", "1970-01-01T00:00:09Z");
        let begun = Instant::now();
        let mut seen = Seen::default();
        for (after, state, serving, started, is_seen, has_served) in [
            (0, Running, false, first, 0, 0),
            (7, Running, false, first, 7, 0),
            (8, Running, true, first, 8, 0),
            (18, Running, true, first, 18, 10),
            (20, Paused, true, first, 20, 12),
            // The name is taken and given again.
            (22, Running, false, first, 22, 0),
            (23, Running, true, first, 23, 0),
            // Another run, by a clock that was put back.
            (30, Running, true, second, 0, 0),
            (33, Restarting, true, second, 0, 0),
            (34, Running, true, second, 0, 0),
            (36, Running, true, second, 2, 2),
        ] {
            let mut look = Observed {
                containers: vec![container(state, serving, started)],
                ..Observed::default()
            };
            seen.tell(
                &mut look,
                &Memory::default(),
                begun + Duration::from_secs(after),
            );
            let told = &look.containers[0];
            assert_eq!(
                (told.seen_seconds, told.served_seconds),
                (is_seen, has_served),
                "after {after} s"
            );
        }
    }

    #[test]
    fn restarts_count_from_the_first_sight_of_a_container_that_the_agent_did_not_begin_to_run() {
        use ContainerState::{Restarting, Running};
        let key = ServiceKey { app: 1, service: 1 };
        let tried = |started| {
            let update = Update {
                fingerprint: String::new(),
                locked_since: None,
                started_at: started,
            };
            let of = ServiceMemory {
                update: Some(update),
                ..ServiceMemory::default()
            };
            Memory {
                services: BTreeMap::from([(key, of)]),
                ..Memory::default()
            }
        };
        let locked = tried(None);
        let begun = tried(Some(DateTime::UNIX_EPOCH));
        let mut seen = Seen::default();
        for (memory, state, restarts, before) in [
            (&locked, Running, 7, 7),
            // Between two starts nothing of it is forgotten.
            (&locked, Restarting, 8, 7),
            (&locked, Running, 9, 7),
            (&begun, Running, 9, 0),
            (&locked, Running, 9, 7),
            // Somebody started it, and the engine counts anew.
            (&locked, Running, 0, 0),
            (&locked, Running, 2, 0),
        ] {
            let mut one = container(state, true, "2026-11-21T12:00:00Z");
            one.restarts = restarts;
            let mut look = Observed {
                containers: vec![one],
                ..Observed::default()
            };
            seen.tell(&mut look, memory, Instant::now());
            assert_eq!(look.containers[0].restarts_before, before, "{restarts}");
        }
    }
}
