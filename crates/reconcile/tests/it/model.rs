//! An engine in memory: it does what steps say, and its images behave as a test tells them to.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use windlass_reconcile::ask;
use windlass_reconcile::memory::{FailureClass, Memory};
use windlass_reconcile::observed::{
    Aside, Container, ContainerState, Health, Image, Observed, ProbeResult,
};
use windlass_reconcile::outcome::{StepFailure, note_of_failure};
use windlass_reconcile::plan::{Plan, plan};
use windlass_reconcile::settings::Settings;
use windlass_reconcile::spec::{Restart, ServiceKey, ServiceSpec, Wanted};
use windlass_reconcile::step::{Note, Step};

/// How the program in an image behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Behaviour {
    /// Runs, and passes what is asked of it.
    #[default]
    Well,
    /// Runs, and is never ready.
    NotReady,
    /// Runs, and says that it is not alive.
    NotAlive,
    /// Ends a moment after each start.
    Crashes,
    /// The engine will not start it.
    WillNotStart,
    /// Ends with 0.
    Ends,
    /// Ends with 3.
    EndsBadly,
}

/// A device.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) wanted: Wanted,
    pub(crate) observed: Observed,
    pub(crate) memory: Memory,
    pub(crate) settings: Settings,
    pub(crate) now: DateTime<Utc>,
    /// By image.
    pub(crate) behaves: BTreeMap<String, Behaviour>,
    /// What a pull fails with, by image.
    pub(crate) pulls: BTreeMap<String, FailureClass>,
    /// Specs of containers by id.
    pub(crate) specs: BTreeMap<String, ServiceSpec>,
    pub(crate) made: u32,
    /// The services whose locks are held.
    pub(crate) held: BTreeSet<ServiceKey>,
    looks: Cell<u32>,
}

/// Some checks cost more than what they check: only so many looks are looked at closely.
const CLOSELY: u32 = 8;

pub(crate) fn start_of_time() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

impl World {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            observed: Observed::default(),
            memory: Memory::default(),
            settings: Settings::default(),
            now: start_of_time(),
            behaves: BTreeMap::new(),
            pulls: BTreeMap::new(),
            specs: BTreeMap::new(),
            made: 0,
            held: BTreeSet::new(),
            looks: Cell::new(0),
        }
    }

    /// Whether it is this look's turn for what costs more than the look.
    pub(crate) fn is_looked_at_closely(&self) -> bool {
        self.looks.set(self.looks.get().wrapping_add(1));
        self.looks.get().is_multiple_of(CLOSELY)
    }

    pub(crate) fn plan(&self) -> Plan {
        let mut locked;
        let observed = if self.held.is_empty() {
            &self.observed
        } else {
            locked = self.observed.clone();
            locked.locks = self.locks();
            &locked
        };
        plan(
            &self.wanted,
            observed,
            &self.memory,
            &self.settings,
            self.now,
        )
    }

    /// Who holds which lock, of those that an agent asks for.
    pub(crate) fn locks(&self) -> BTreeMap<ServiceKey, String> {
        ask::locks(&self.wanted, &self.observed, &self.memory)
            .into_keys()
            .filter(|key| self.held.contains(key))
            .map(|key| (key, "the night shift".to_owned()))
            .collect()
    }

    fn behaviour(&self, container: &Container) -> Behaviour {
        self.behaves
            .get(&container.image)
            .copied()
            .unwrap_or_default()
    }

    /// The spec whose probes an agent runs on a container: changed probes make no new one.
    fn probed_by(&self, container: &Container) -> &ServiceSpec {
        let key = container.service;
        let good = self.memory.of(key).and_then(|of| of.good.as_ref());
        [self.wanted.services.get(&key), good]
            .into_iter()
            .flatten()
            .find(|spec| spec.fingerprint() == container.fingerprint)
            .unwrap_or(&self.specs[&container.id])
    }

    fn at(&self, id: &str) -> Option<usize> {
        self.observed.containers.iter().position(|c| c.id == id)
    }

    /// Puts a container of a spec there.
    pub(crate) fn add(&mut self, service: (i64, i64), spec: &ServiceSpec, name: &str) -> usize {
        self.made += 1;
        let id = format!("{:064x}", self.made);
        let (app, service) = service;
        self.specs.insert(id.clone(), spec.clone());
        self.observed.containers.push(Container {
            id,
            name: name.to_owned(),
            service: format!("{app}/{service}").try_into().unwrap(),
            service_name: spec.name.clone(),
            app_name: spec.app_name.clone(),
            fingerprint: spec.fingerprint(),
            image: spec.image.clone(),
            image_id: format!("id-{}", spec.image),
            state: ContainerState::Created,
            serving: true,
            started_at: None,
            finished_at: None,
            exit_code: None,
            oom_killed: false,
            restarts: 0,
            health: None,
            healthcheck: None,
            ports: spec.container.ports.clone(),
            stop_seconds: spec.container.stop_grace_seconds,
            probes: Default::default(),
            seen_seconds: 0,
            served_seconds: 0,
            restarts_before: 0,
        });
        self.observed.containers.len() - 1
    }

    pub(crate) fn add_image(&mut self, name: &str) {
        let id = format!("id-{name}");
        if self.observed.images.iter().all(|image| image.id != id) {
            let names = [name.to_owned()].into();
            self.observed.images.push(Image {
                id,
                names,
                bytes: 1 << 20,
            });
        }
    }

    /// Does one step, as an agent does.
    pub(crate) fn carry_out(&mut self, step: &Step) {
        if self.memory.write(step) {
            if self.is_looked_at_closely() {
                // What is remembered goes through a file.
                let text = serde_json::to_string(&self.memory).unwrap();
                self.memory = serde_json::from_str(&text).unwrap();
            }
            return;
        }
        if let Err(failure) = self.engine(step) {
            self.note(step, &failure);
        }
    }

    /// What an agent makes of a step that failed.
    pub(crate) fn note(&mut self, step: &Step, failure: &StepFailure) {
        let noted = note_of_failure(
            step,
            failure,
            &self.wanted,
            &self.observed,
            &self.memory,
            &self.settings,
            self.now,
        );
        match noted {
            Some((key, note)) => self.memory.apply(key, note),
            None => {
                let until = self.now + TimeDelta::seconds(30);
                let aside = Aside {
                    message: failure.message.clone(),
                    until,
                };
                self.observed.aside.insert(step.subject(), aside);
            }
        }
    }

    /// What the engine does.
    pub(crate) fn engine(&mut self, step: &Step) -> Result<(), StepFailure> {
        let failure = |class, message: &str| StepFailure {
            class,
            message: message.to_owned(),
        };
        let no = |message: &str| Err(failure(FailureClass::Start, message));
        match step {
            Step::Inspect { image, .. } => {
                self.observed.offers.entry(image.clone()).or_default();
            }
            Step::Pull { image, .. } => match self.pulls.get(image) {
                Some(class) => return Err(failure(*class, "no")),
                None => self.add_image(image),
            },
            Step::CreateNetwork { name, app } => {
                self.observed.networks.insert(name.clone(), *app);
            }
            Step::Create {
                service,
                spec,
                name,
                serving,
            } => {
                if self.observed.containers.iter().any(|c| c.name == *name) {
                    return no("the name is taken");
                }
                if self
                    .observed
                    .images
                    .iter()
                    .all(|i| !i.names.contains(&spec.image))
                {
                    return no("no such image");
                }
                let at = self.add((service.app, service.service), spec, name);
                self.observed.containers[at].serving = *serving;
            }
            Step::Start { id, .. } => {
                let Some(at) = self.at(id) else {
                    return no("no such container");
                };
                return self.start(at);
            }
            Step::Serve { id, .. } => {
                let Some(at) = self.at(id) else {
                    return no("no such container");
                };
                self.observed.containers[at].serving = true;
                self.observed.containers[at].served_seconds = 0;
            }
            Step::Stop { id, .. } => {
                let Some(at) = self.at(id) else { return Ok(()) };
                self.end(at, 143);
            }
            Step::Restart { id, .. } => {
                let Some(at) = self.at(id) else {
                    return no("no such container");
                };
                self.end(at, 143);
                return self.start(at);
            }
            Step::Remove { id, .. } => {
                let Some(at) = self.at(id) else { return Ok(()) };
                if self.observed.containers[at].is_active() {
                    return no("it runs");
                }
                self.observed.containers.remove(at);
            }
            Step::RemoveImage { id } => {
                if self.observed.containers.iter().any(|c| c.image_id == *id) {
                    return no("it is in use");
                }
                self.observed.images.retain(|image| image.id != *id);
            }
            Step::RemoveNetwork { name } => {
                self.observed.networks.remove(name);
            }
            Step::Accept { .. }
            | Step::Remember { .. }
            | Step::Forget { .. }
            | Step::ForgetImage { .. } => {}
        }
        Ok(())
    }

    pub(crate) fn start(&mut self, at: usize) -> Result<(), StepFailure> {
        let container = self.observed.containers[at].clone();
        if container.state == ContainerState::Running {
            return Ok(());
        }
        let start = |message: &str| {
            Err(StepFailure {
                class: FailureClass::Start,
                message: message.to_owned(),
            })
        };
        let mut others = self
            .observed
            .containers
            .iter()
            .filter(|c| c.id != container.id);
        let taken = |other: &Container| {
            other.is_active()
                && other
                    .ports
                    .iter()
                    .any(|p| container.ports.iter().any(|q| q.collides(p)))
        };
        if others.any(taken) {
            return start("port is already allocated");
        }
        let behaviour = self.behaviour(&container);
        if behaviour == Behaviour::WillNotStart {
            return start("exec format error");
        }
        let now = self.now;
        let restart = self.specs[&container.id].container.restart;
        let started = &mut self.observed.containers[at];
        started.state = ContainerState::Running;
        started.started_at = Some(now);
        started.probes = Default::default();
        (started.seen_seconds, started.served_seconds) = (0, 0);
        if restart == Restart::No && behaviour == Behaviour::Ends {
            self.end(at, 0);
        } else if restart == Restart::No && behaviour == Behaviour::EndsBadly {
            self.end(at, 3);
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, at: usize, code: i64) {
        let now = self.now;
        let container = &mut self.observed.containers[at];
        if container.is_active() {
            container.state = ContainerState::Exited;
            container.exit_code = Some(code);
            container.finished_at = Some(now);
        }
    }

    /// Lets time pass: crashes happen and probes are run.
    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
        let now = self.now;
        self.observed.aside.retain(|_, aside| aside.until > now);
        for at in 0..self.observed.containers.len() {
            let container = self.observed.containers[at].clone();
            let behaviour = self.behaviour(&container);
            let spec = self.probed_by(&container).clone();
            let crashes = matches!(
                behaviour,
                Behaviour::Crashes | Behaviour::Ends | Behaviour::EndsBadly
            );
            let container = &mut self.observed.containers[at];
            if !container.is_active() || container.state == ContainerState::Paused {
                continue;
            }
            container.state = ContainerState::Running;
            if crashes {
                // Down and up again, by its restart policy.
                container.restarts += 1;
                container.started_at = Some(now);
                (container.seen_seconds, container.served_seconds) = (0, 0);
                container.state = ContainerState::Restarting;
                container.exit_code = Some(1);
                continue;
            }
            // Whatever was done to the clock: this is time that passed.
            let passed = u32::try_from(seconds).unwrap_or(0);
            container.seen_seconds += passed;
            if container.serving {
                container.served_seconds += passed;
            }
            let says = |well: bool| {
                let health = if well {
                    Health::Healthy
                } else {
                    Health::Unhealthy
                };
                Some(ProbeResult {
                    health,
                    at: now,
                    output: "says so".to_owned(),
                })
            };
            let ready = behaviour != Behaviour::NotReady;
            let probes = &spec.probes;
            container.probes.startup = probes.startup.as_ref().and_then(|_| says(true));
            container.probes.readiness = probes.readiness.as_ref().and_then(|_| says(ready));
            container.probes.liveness = probes
                .liveness
                .as_ref()
                .and_then(|_| says(behaviour != Behaviour::NotAlive));
            container.health = spec.container.healthcheck.as_ref().map(|_| match ready {
                true => Health::Healthy,
                false => Health::Unhealthy,
            });
        }
    }

    /// A step in short, with images and states for ids.
    pub(crate) fn told(&self, step: &Step) -> String {
        let image = |id: &String| match self.at(id) {
            Some(at) => self.observed.containers[at].image.clone(),
            None => "nobody".to_owned(),
        };
        let name = step.name();
        match step {
            Step::Accept { version } => format!("{name} {version}"),
            Step::Inspect { image, .. } | Step::Pull { image, .. } => format!("{name} {image}"),
            Step::ForgetImage { image } => format!("{name} {image}"),
            Step::CreateNetwork { name: network, .. } | Step::RemoveNetwork { name: network } => {
                format!("{name} {network}")
            }
            Step::Create { spec, serving, .. } => {
                let how = if *serving { "" } else { " unnamed" };
                format!("{name} {}{how}", spec.image)
            }
            Step::Start { id, .. }
            | Step::Serve { id, .. }
            | Step::Stop { id, .. }
            | Step::Restart { id, .. }
            | Step::Remove { id, .. } => format!("{name} {}", image(id)),
            Step::RemoveImage { id } => format!("{name} {id}"),
            Step::Forget { service } => format!("{name} {service}"),
            Step::Remember { note, .. } => match &**note {
                Note::Update(update) => match update.started_at {
                    Some(_) => "note begun".to_owned(),
                    None => "note locked".to_owned(),
                },
                Note::Good(spec) => format!("note good {}", spec.image),
                Note::Failed(failed) => format!("note failed {}", failed.class.as_str()),
                Note::Restarting(restarts) => format!("note restart {}", restarts.count),
                Note::Stopping(_) => "note stopping".to_owned(),
                Note::Pulling(image) => format!("note pulling {image}"),
            },
        }
    }
}
