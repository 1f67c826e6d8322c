//! What an agent has to find out before it can plan, beside what the engine tells.

use crate::memory::Memory;
use crate::observed::{Container, ContainerState, Observed};
use crate::spec::{Lock, Probes, ServiceKey, ServiceSpec, Wanted};
use std::collections::BTreeMap;

/// A lock that is to be asked for, of a service that may have to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockToAsk {
    /// The lock.
    pub lock: Lock,
    /// The container that would be stopped: who is asked over HTTP.
    pub container: String,
}

/// The locks to ask for: of services of which a running container is to go. Who holds one belongs into
/// `Observed::locks`; one that cannot be asked for is not held.
#[must_use]
pub fn locks(
    wanted: &Wanted,
    observed: &Observed,
    memory: &Memory,
) -> BTreeMap<ServiceKey, LockToAsk> {
    let mut found: BTreeMap<ServiceKey, LockToAsk> = BTreeMap::new();
    for container in sorted(&observed.containers) {
        let key = container.service;
        let spec = wanted.services.get(&key).filter(|spec| spec.running);
        let stays = spec.is_some_and(|spec| spec.fingerprint() == container.fingerprint);
        if !container.is_active() || stays || wanted.refused.contains_key(&key) {
            continue;
        }
        if let Some(lock) = lock(wanted, memory, key)
            // The one that serves is the one that knows.
            && (container.serving || !found.contains_key(&key))
        {
            let ask = LockToAsk {
                lock: lock.clone(),
                container: container.id.clone(),
            };
            found.insert(key, ask);
        }
    }
    found
}

/// The lock of a service: as the target says it, or as it did last where the service is to go.
pub(crate) fn lock<'a>(
    wanted: &'a Wanted,
    memory: &'a Memory,
    key: ServiceKey,
) -> Option<&'a Lock> {
    match wanted.services.get(&key) {
        Some(spec) => spec.lock.as_ref(),
        None => memory.of(key)?.good.as_ref()?.lock.as_ref(),
    }
}

/// The probes to run: of each running container whose spec is known.
#[must_use]
pub fn probes<'a>(
    wanted: &'a Wanted,
    observed: &Observed,
    memory: &'a Memory,
) -> BTreeMap<String, &'a Probes> {
    sorted(&observed.containers)
        .filter(|c| c.state == ContainerState::Running)
        .filter_map(|c| Some((c.id.clone(), &spec_of(wanted, memory, c)?.probes)))
        .collect()
}

/// The spec that a container was made from, where it is the wanted one or the last good one.
fn spec_of<'a>(
    wanted: &'a Wanted,
    memory: &'a Memory,
    container: &Container,
) -> Option<&'a ServiceSpec> {
    let wants = wanted.services.get(&container.service);
    let good = memory.of(container.service).and_then(|m| m.good.as_ref());
    [wants, good]
        .into_iter()
        .flatten()
        .find(|spec| spec.fingerprint() == container.fingerprint)
}

fn sorted(containers: &[Container]) -> impl Iterator<Item = &Container> {
    let mut all: Vec<&Container> = containers.iter().collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all.into_iter()
}
