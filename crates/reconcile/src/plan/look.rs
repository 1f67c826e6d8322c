//! All that a plan looks at, put in order once.

use crate::memory::{Failed, Memory, Restarts, ServiceMemory, Update};
use crate::observed::{Aside, Container, ContainerState, Observed};
use crate::settings::Settings;
use crate::spec::{Restart, ServiceKey, ServiceSpec, Wanted};
use crate::step::Step;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// What a plan looks at.
pub(super) struct Look<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) observed: &'a Observed,
    pub(super) memory: &'a Memory,
    pub(super) settings: &'a Settings,
    pub(super) now: DateTime<Utc>,
    /// Containers by service, in order of their ids; those on their way out are left out.
    containers: BTreeMap<ServiceKey, Vec<&'a Container>>,
    /// Services that are there only by containers on their way out.
    leaving: BTreeSet<ServiceKey>,
    specs: BTreeMap<ServiceKey, Specs<'a>>,
    names: BTreeMap<(i64, &'a str), ServiceKey>,
}

/// A spec and its fingerprint.
#[derive(Debug, Clone)]
pub(super) struct Made<'a> {
    pub(super) spec: &'a ServiceSpec,
    pub(super) print: String,
}

/// The specs of a service.
#[derive(Debug, Clone, Default)]
pub(super) struct Specs<'a> {
    pub(super) wanted: Option<Made<'a>>,
    pub(super) good: Option<Made<'a>>,
}

impl<'a> Specs<'a> {
    /// Whether the wanted spec is the last good one.
    pub(super) fn proven(&self) -> bool {
        matches!((&self.wanted, &self.good), (Some(w), Some(g)) if w.print == g.print)
    }

    /// The last good spec, where it is another than the wanted one: what can be gone back to.
    pub(super) fn way_back(&self) -> Option<&Made<'a>> {
        self.good.as_ref().filter(|_| !self.proven())
    }
}

impl<'a> Look<'a> {
    pub(super) fn new(
        wanted: &'a Wanted,
        observed: &'a Observed,
        memory: &'a Memory,
        settings: &'a Settings,
        now: DateTime<Utc>,
    ) -> Self {
        let mut containers: BTreeMap<ServiceKey, Vec<&Container>> = BTreeMap::new();
        let mut leaving = BTreeSet::new();
        for container in &observed.containers {
            if container.state == ContainerState::Removing {
                leaving.insert(container.service);
            } else {
                containers
                    .entry(container.service)
                    .or_default()
                    .push(container);
            }
        }
        for of_one in containers.values_mut() {
            of_one.sort_by(|a, b| a.id.cmp(&b.id));
        }
        let made = |spec: &'a ServiceSpec| Made {
            spec,
            print: spec.fingerprint(),
        };
        let mut specs: BTreeMap<ServiceKey, Specs<'_>> = BTreeMap::new();
        for (key, spec) in &wanted.services {
            specs.entry(*key).or_default().wanted = Some(made(spec));
        }
        for (key, of) in &memory.services {
            specs.entry(*key).or_default().good = of.good.as_ref().map(made);
        }
        let names = wanted.services.iter();
        let names = names
            .map(|(key, spec)| ((key.app, spec.name.as_str()), *key))
            .collect();
        Self {
            wanted,
            observed,
            memory,
            settings,
            now,
            containers,
            leaving,
            specs,
            names,
        }
    }

    /// Every service that is wanted, refused, there or remembered: those that others depend on before these.
    pub(super) fn in_order(&self) -> Vec<ServiceKey> {
        let mut all: BTreeSet<ServiceKey> = self.specs.keys().copied().collect();
        all.extend(self.memory.services.keys());
        all.extend(self.containers.keys());
        all.extend(&self.leaving);
        all.extend(self.wanted.refused.keys());
        let mut order = Vec::with_capacity(all.len());
        let mut seen = BTreeSet::new();
        for key in all {
            // Depth first without recursion: a chain of services can be as long as a target.
            let mut stack = vec![(key, false)];
            while let Some((key, below_done)) = stack.pop() {
                if below_done {
                    order.push(key);
                } else if seen.insert(key) {
                    stack.push((key, true));
                    let spec = self.wanted.services.get(&key);
                    let below = spec.into_iter().flat_map(|spec| spec.depends_on.keys());
                    let below = below.filter_map(|name| self.named(key.app, name));
                    stack.extend(below.map(|key| (key, false)));
                }
            }
        }
        order
    }

    /// The spec that a container was made from, where it is the wanted one or the last good one.
    pub(super) fn spec_of(&self, container: &Container) -> Option<&'a ServiceSpec> {
        let specs = self.specs.get(&container.service)?;
        [&specs.wanted, &specs.good]
            .into_iter()
            .flatten()
            .find(|made| made.print == container.fingerprint)
            .map(|made| made.spec)
    }

    /// The wanted service of an app by its name.
    pub(super) fn named(&self, app: i64, name: &str) -> Option<ServiceKey> {
        self.names.get(&(app, name)).copied()
    }

    pub(super) fn specs(&self, key: ServiceKey) -> Specs<'a> {
        self.specs.get(&key).cloned().unwrap_or_default()
    }

    /// The containers of a service, but for those on their way out.
    pub(super) fn containers(&self, key: ServiceKey) -> &[&'a Container] {
        self.containers.get(&key).map_or(&[], Vec::as_slice)
    }

    /// All services' containers, but for those on their way out.
    pub(super) fn all_containers(&self) -> impl Iterator<Item = &'a Container> + '_ {
        self.containers.values().flatten().copied()
    }

    pub(super) fn is_leaving(&self, key: ServiceKey) -> bool {
        self.leaving.contains(&key)
    }

    /// The container that stands for a spec: one that runs before one that does not, then one that
    /// serves. One that is dead cannot be started and stands for nothing.
    pub(super) fn best(&self, key: ServiceKey, print: &str) -> Option<&'a Container> {
        let of_spec = self.containers(key).iter().copied();
        of_spec
            .filter(|c| c.fingerprint == print && c.state != ContainerState::Dead)
            .min_by_key(|c| {
                let state = match c.state {
                    ContainerState::Running => 0,
                    ContainerState::Restarting => 1,
                    ContainerState::Paused => 2,
                    ContainerState::Exited => 3,
                    ContainerState::Created | ContainerState::Removing | ContainerState::Dead => 4,
                };
                (state, !c.serving)
            })
    }

    /// The containers of a service but this one.
    pub(super) fn others(&self, key: ServiceKey, than: Option<&Container>) -> Vec<&'a Container> {
        let id = than.map(|c| c.id.as_str());
        let all = self.containers(key).iter().copied();
        all.filter(|c| Some(c.id.as_str()) != id).collect()
    }

    pub(super) fn remembered(&self, key: ServiceKey) -> Option<&'a ServiceMemory> {
        self.memory.of(key)
    }

    /// The failure of the wanted spec at this version of the target.
    pub(super) fn failed(&self, key: ServiceKey) -> Option<&'a Failed> {
        let print = &self.specs.get(&key)?.wanted.as_ref()?.print;
        let failed = self.remembered(key)?.failed.as_ref()?;
        (failed.fingerprint == *print && failed.version >= self.wanted.version).then_some(failed)
    }

    /// The update to this spec, where one is under way.
    pub(super) fn update(&self, key: ServiceKey, print: &str) -> Option<&'a Update> {
        let update = self.remembered(key)?.update.as_ref()?;
        (update.fingerprint == print).then_some(update)
    }

    pub(super) fn restarts(&self, key: ServiceKey) -> Option<&'a Restarts> {
        self.remembered(key)?.restarts.as_ref()
    }

    /// Why a subject of steps was put aside, while it is.
    pub(super) fn aside(&self, subject: &str) -> Option<&'a Aside> {
        let aside = self.observed.aside.get(subject)?;
        (aside.until > self.now).then_some(aside)
    }

    /// Whether a time has come. One that is further away than anything is ever put off was
    /// written before the clock was put back, and has come.
    pub(super) fn has_come(&self, at: DateTime<Utc>, longest_seconds: u32) -> bool {
        at <= self.now || at > self.after(self.now, longest_seconds)
    }

    pub(super) fn after(&self, at: DateTime<Utc>, seconds: u32) -> DateTime<Utc> {
        at.checked_add_signed(TimeDelta::seconds(i64::from(seconds)))
            .unwrap_or(at)
    }

    /// Whether a container has ended for good: its policy leaves it ended, and nobody but itself
    /// ended it.
    pub(super) fn is_over(&self, spec: &ServiceSpec, container: &Container) -> bool {
        if container.state != ContainerState::Exited || self.was_stopped(container) {
            return false;
        }
        match spec.container.restart {
            Restart::UnlessStopped => false,
            Restart::No => true,
            Restart::OnFailure(times) => {
                container.exit_code == Some(0) || times > 0 && container.restarts >= times
            }
        }
    }

    /// Whether the agent ended the last run of a container to make room, or is about to.
    pub(super) fn was_stopped(&self, container: &Container) -> bool {
        self.remembered(container.service)
            .is_some_and(|of| of.stops.contains(&super::turn::run_of(container)))
    }

    /// The step that stops a container.
    pub(super) fn stop(&self, container: &Container) -> Step {
        Step::Stop {
            service: container.service,
            id: container.id.clone(),
            grace_seconds: container
                .stop_seconds
                .unwrap_or(self.settings.grace_seconds),
        }
    }

    /// The step that removes a container.
    pub(super) fn remove(&self, container: &Container) -> Step {
        Step::Remove {
            service: container.service,
            id: container.id.clone(),
        }
    }
}
