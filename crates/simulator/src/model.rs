//! What happens on a device: containers, and the steps from one target to the next. No I/O, no
//! clock; the task around it waits and sends.

#[cfg(test)]
mod tests;

use crate::behaviour::{Behaviour, Failure, Style};
use crate::record::{Running, Started};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use windlass_types::target::{TargetService, TargetState};

/// App and service.
pub(crate) type Key = (i64, i64);

/// A container as the device's engine would show it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Container {
    pub(crate) app_name: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) config: Map<String, Value>,
    /// Ours only: the step, and what went wrong.
    pub(crate) phase: &'static str,
    pub(crate) error: Option<(&'static str, &'static str)>,
    pub(crate) retries: i64,
}

/// What the device does next.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// Says that it has the new target.
    Received,
    /// Stops what the target no longer has.
    Remove(Key),
    Pulling(Key),
    Pulled(Key),
    Start(Key),
    Settled(Key),
    Crash(Key),
}

/// A wish: one service of the target.
#[derive(Debug, Clone)]
struct Wish {
    app_name: String,
    service: TargetService,
}

/// A device's insides.
#[derive(Debug)]
pub(crate) struct Model {
    behaviour: Behaviour,
    rng: fastrand::Rng,
    pub(crate) containers: BTreeMap<Key, Container>,
    /// What was tried last for each service; the same image is not tried again.
    tried: BTreeMap<Key, String>,
    wishes: BTreeMap<Key, Wish>,
    steps: VecDeque<(Duration, Step)>,
    pub(crate) version: i64,
    pub(crate) started: Vec<Started>,
}

impl Model {
    pub(crate) fn new(behaviour: Behaviour, rng: fastrand::Rng) -> Self {
        Self {
            behaviour,
            rng,
            containers: BTreeMap::new(),
            tried: BTreeMap::new(),
            wishes: BTreeMap::new(),
            steps: VecDeque::new(),
            version: 0,
            started: Vec::new(),
        }
    }

    pub(crate) const fn style(&self) -> Style {
        self.behaviour.style
    }

    /// Half to one and a half of this.
    pub(crate) fn jitter(&mut self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + self.rng.f64())
    }

    pub(crate) fn hex(&mut self, digits: usize) -> String {
        (0..digits)
            .filter_map(|_| char::from_digit(self.rng.u32(..16), 16))
            .collect()
    }

    /// A uuid (v7 in form) for a report.
    pub(crate) fn report_id(&mut self, at: chrono::DateTime<chrono::Utc>) -> uuid::Uuid {
        let millis = u64::try_from(at.timestamp_millis()).unwrap_or(0);
        let random = std::array::from_fn(|_| self.rng.u8(..));
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// Takes a target; what was under way for an older one is given up.
    pub(crate) fn take(&mut self, version: i64, state: &TargetState) {
        self.version = version;
        self.wishes = state
            .apps
            .values()
            .flat_map(|app| {
                app.services.iter().map(|service| {
                    let wish = Wish {
                        app_name: app.app_name.clone(),
                        service: service.clone(),
                    };
                    ((app.app_id, service.service_id), wish)
                })
            })
            .collect();
        let crashing: Vec<_> = self
            .steps
            .drain(..)
            .filter(|(_, step)| matches!(step, Step::Crash(_)))
            .collect();
        self.steps.push_back((Duration::ZERO, Step::Received));
        let gone: Vec<Key> = self
            .containers
            .keys()
            .filter(|key| !self.wishes.contains_key(key))
            .copied()
            .collect();
        for key in gone {
            self.tried.remove(&key);
            self.steps.push_back((Duration::ZERO, Step::Remove(key)));
        }
        let wanted: Vec<(Key, String)> = self
            .wishes
            .iter()
            .map(|(key, wish)| (*key, wish.service.image_name.clone()))
            .collect();
        for (key, image) in wanted {
            if self.tried.get(&key) == Some(&image) {
                // What loops, goes on looping.
                self.steps.extend(
                    crashing
                        .iter()
                        .filter(|(_, s)| *s == Step::Crash(key))
                        .cloned(),
                );
                continue;
            }
            // An agent compares with what runs: the right image is left alone.
            if let Some(container) = self.containers.get_mut(&key)
                && container.image == image
                && container.status == "running"
            {
                (container.phase, container.error) = ("running", None);
                self.tried.insert(key, image);
                continue;
            }
            self.tried.remove(&key);
            let pull = self.jitter(self.behaviour.pace.pull);
            let start = self.jitter(self.behaviour.pace.start);
            self.steps.push_back((Duration::ZERO, Step::Pulling(key)));
            self.steps.push_back((pull, Step::Pulled(key)));
            self.steps.push_back((start, Step::Start(key)));
        }
    }

    /// How long until the next step, where there is one.
    pub(crate) fn next_in(&self) -> Option<Duration> {
        self.steps.front().map(|(wait, _)| *wait)
    }

    /// Takes the next step; returns whether there is something to report.
    pub(crate) fn step(&mut self) -> bool {
        let Some((_, step)) = self.steps.pop_front() else {
            return false;
        };
        match step {
            Step::Received => true,
            Step::Remove(key) => self.containers.remove(&key).is_some(),
            Step::Pulling(key) => self.phase(key, "pulling"),
            Step::Pulled(key) => self.pulled(key),
            Step::Start(key) => self.start(key),
            Step::Settled(key) => self.phase(key, "running"),
            Step::Crash(key) => self.crash(key),
        }
    }

    /// Our agent reports its steps, an existing one does not.
    fn phase(&mut self, key: Key, phase: &'static str) -> bool {
        match self.containers.get_mut(&key) {
            Some(container) if self.behaviour.style == Style::Ours => {
                container.phase = phase;
                true
            }
            _ => false,
        }
    }

    fn failure(&self, key: Key) -> Option<Failure> {
        let wish = self.wishes.get(&key)?;
        self.behaviour.failure_of(&wish.service.image_name)
    }

    fn pulled(&mut self, key: Key) -> bool {
        if self.failure(key) != Some(Failure::RemovesContainer) {
            return self.phase(key, "pulled");
        }
        // The start that was to follow does not come.
        self.steps.retain(|(_, step)| *step != Step::Start(key));
        self.mark_tried(key);
        match (self.containers.get_mut(&key), self.behaviour.style) {
            (Some(container), Style::Ours) => {
                // Ours keeps the old container until the new image is there.
                container.phase = "failed";
                container.error = Some(("pull", "manifest unknown"));
                container.retries += 1;
                true
            }
            (Some(_), Style::Existing) => self.containers.remove(&key).is_some(),
            (None, _) => true,
        }
    }

    fn mark_tried(&mut self, key: Key) {
        if let Some(wish) = self.wishes.get(&key) {
            self.tried.insert(key, wish.service.image_name.clone());
        }
    }

    fn start(&mut self, key: Key) -> bool {
        let Some(wish) = self.wishes.get(&key).cloned() else {
            return false;
        };
        self.mark_tried(key);
        let failure = self.failure(key);
        let (status, phase, error) = match failure {
            Some(Failure::ReportsError) => (
                "exited",
                "failed",
                Some(("start", "exec: no such file or directory")),
            ),
            _ => ("running", "verifying", None),
        };
        let image = wish.service.image_name.clone();
        let id = self.hex(64);
        self.started.push(Started {
            service: wish.service.service_name.clone(),
            image: image.clone(),
            version: self.version,
        });
        self.containers.insert(
            key,
            Container {
                app_name: wish.app_name,
                name: wish.service.service_name,
                image,
                id,
                status,
                config: wish.service.config,
                phase,
                error,
                retries: 0,
            },
        );
        match failure {
            Some(Failure::CrashLoop) => self.loop_on(key),
            Some(_) => {}
            None if self.behaviour.style == Style::Ours => {
                let settle = self.jitter(self.behaviour.pace.start);
                self.steps.push_back((settle, Step::Settled(key)));
            }
            None => {}
        }
        true
    }

    fn loop_on(&mut self, key: Key) {
        let wait = self.jitter(self.behaviour.pace.crash);
        self.steps.push_back((wait, Step::Crash(key)));
    }

    /// Running and restarting by turns; the engine keeps the container through its restarts.
    fn crash(&mut self, key: Key) -> bool {
        let Some(container) = self.containers.get_mut(&key) else {
            return false;
        };
        if container.status == "running" {
            container.status = "restarting";
            container.retries += 1;
            container.phase = "failed";
            container.error = Some(("crash_loop", "exited with code 1"));
        } else {
            container.status = "running";
        }
        self.loop_on(key);
        true
    }

    pub(crate) fn running(&self) -> BTreeMap<String, Running> {
        self.containers
            .values()
            .map(|container| {
                let running = Running {
                    image: container.image.clone(),
                    status: container.status,
                };
                (container.name.clone(), running)
            })
            .collect()
    }
}
