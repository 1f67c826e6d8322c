//! What happens on a device: containers, and the steps from one target to the next. No I/O, no
//! clock; the task around it waits and sends.

mod container;
#[cfg(test)]
mod tests;

pub(crate) use container::Container;

use crate::behaviour::{Behaviour, Style};
use crate::failure::{ErrorClass, Failure};
use crate::port::Behind;
use crate::record::{Running, Started};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use windlass_types::target::{TargetService, TargetState};

/// App and service.
pub(crate) type Key = (i64, i64);

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
    /// Another container takes the place of the one that runs.
    Flap(Key),
    /// Says nothing more.
    Silence,
}

impl Step {
    /// Whether it belongs to an image that goes on failing by itself.
    fn goes_on(&self, with: Key) -> bool {
        matches!(self, Self::Crash(key) | Self::Flap(key) if *key == with)
    }
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
    /// What was tried last for each service; the same image is not tried again where that went well.
    tried: BTreeMap<Key, String>,
    /// How often each image was tried.
    tries: BTreeMap<(Key, String), u32>,
    wishes: BTreeMap<Key, Wish>,
    steps: VecDeque<(Duration, Step)>,
    pub(crate) version: i64,
    pub(crate) started: Vec<Started>,
    /// It has gone silent by itself.
    pub(crate) silent: bool,
}

impl Model {
    pub(crate) fn new(behaviour: Behaviour, rng: fastrand::Rng) -> Self {
        Self {
            behaviour,
            rng,
            containers: BTreeMap::new(),
            tried: BTreeMap::new(),
            tries: BTreeMap::new(),
            wishes: BTreeMap::new(),
            steps: VecDeque::new(),
            version: 0,
            started: Vec::new(),
            silent: false,
        }
    }

    pub(crate) const fn behaviour(&self) -> &Behaviour {
        &self.behaviour
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
        let going_on: Vec<_> = self
            .steps
            .drain(..)
            .filter(|(_, step)| matches!(step, Step::Crash(_) | Step::Flap(_)))
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
            let there = self
                .containers
                .get(&key)
                .is_some_and(|container| container.image == image && container.status != "exited");
            if there && self.tried.get(&key) == Some(&image) {
                // What loops, goes on looping.
                let own = going_on.iter().filter(|(_, step)| step.goes_on(key));
                self.steps.extend(own.cloned());
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
            *self.tries.entry((key, image)).or_default() += 1;
            let mut pace = self.behaviour.pace;
            if let Some(Failure::Slow(times)) = self.failure(key) {
                pace = pace.slower(times);
            }
            let pull = self.jitter(pace.pull);
            let start = self.jitter(pace.start);
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
            Step::Settled(key) => self.settle(key),
            Step::Crash(key) => self.crash(key),
            Step::Flap(key) => self.flap(key),
            Step::Silence => {
                self.silent = true;
                false
            }
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
        let image = &self.wishes.get(&key)?.service.image_name;
        let tried = self.tries.get(&(key, image.clone())).copied();
        self.behaviour.failure_of(image, tried.unwrap_or(0))
    }

    fn pulled(&mut self, key: Key) -> bool {
        let Some(error) = self.failure(key).and_then(Failure::of_pull) else {
            return self.phase(key, "pulled");
        };
        // The start that was to follow does not come.
        self.steps.retain(|(_, step)| *step != Step::Start(key));
        self.mark_tried(key);
        match (self.containers.get_mut(&key), self.behaviour.style) {
            (Some(container), Style::Ours) => {
                // Ours keeps the old container until the new image is there.
                container.phase = "failed";
                container.error = Some(error);
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
        let (status, phase, error) = if failure.is_some_and(Failure::of_start) {
            let error = ("start", "exec: no such file or directory");
            ("exited", "failed", Some(error))
        } else if failure == Some(Failure::Error(ErrorClass::Health)) {
            ("running", "failed", Some(("health", "the probes fail")))
        } else {
            ("running", "verifying", None)
        };
        let probe = failure.and_then(Failure::probe);
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
                probe,
                settled: false,
            },
        );
        match failure {
            Some(failure) if failure.loops() => self.again(Step::Crash(key)),
            Some(Failure::Flaps) => self.again(Step::Flap(key)),
            Some(Failure::GoesSilent) => {
                let settle = self.jitter(self.behaviour.pace.start);
                self.steps.push_back((settle, Step::Silence));
            }
            _ if status == "running" && probe.is_none() => {
                let settle = self.jitter(self.behaviour.pace.start);
                self.steps.push_back((settle, Step::Settled(key)));
            }
            _ => {}
        }
        true
    }

    fn settle(&mut self, key: Key) -> bool {
        if let Some(container) = self.containers.get_mut(&key) {
            container.settled = true;
        }
        self.phase(key, "running")
    }

    fn again(&mut self, step: Step) {
        let wait = self.jitter(self.behaviour.pace.crash);
        self.steps.push_back((wait, step));
    }

    fn flap(&mut self, key: Key) -> bool {
        let id = self.hex(64);
        let Some(container) = self.containers.get_mut(&key) else {
            return false;
        };
        container.id = id;
        self.again(Step::Flap(key));
        true
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
        self.again(Step::Crash(key));
        true
    }

    /// What stands behind its health port.
    pub(crate) fn behind(&self) -> Behind {
        let mut containers = self.containers.values();
        if self.containers.is_empty() || !containers.all(|one| one.status == "running") {
            return Behind::Nothing;
        }
        let containers = self.containers.values();
        let images: Vec<&str> = containers.clone().map(|one| one.image.as_str()).collect();
        let probe = containers.filter_map(|one| one.probe).next();
        Behind::Containers(probe, images.join(", "))
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
