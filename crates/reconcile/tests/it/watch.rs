//! What must hold of each single step.

use crate::model::World;
use chrono::TimeDelta;
use windlass_reconcile::observed::{Container, ContainerState};
use windlass_reconcile::spec::{ServiceKey, ServiceSpec, UpdateStrategy};
use windlass_reconcile::step::{Step, network_name};

/// Whether a container serves: it runs and has the service's name.
fn serves(container: &Container, key: ServiceKey) -> bool {
    container.service == key && container.serving && container.state == ContainerState::Running
}

/// Checks a step before it is done.
pub(crate) fn check(world: &World, step: &Step) {
    let told = world.told(step);
    only_own(world, step, &told);
    if let Step::RemoveImage { id } = step {
        let kept = world
            .memory
            .services
            .values()
            .filter_map(|of| of.good.as_ref());
        let kept = kept.chain(world.wanted.services.values());
        for spec in kept {
            assert_ne!(*id, format!("id-{}", spec.image), "{told}: it is kept");
        }
        let pulled = world
            .memory
            .pulled
            .iter()
            .any(|name| format!("id-{name}") == *id);
        assert!(pulled, "{told}: it is not ours");
    }
    if let Step::RemoveNetwork { name } = step {
        let good = world.memory.services.iter();
        let good = good.filter_map(|(key, of)| Some((key, of.good.as_ref()?)));
        for (key, spec) in world.wanted.services.iter().chain(good) {
            for network in spec.container.networks.keys() {
                let needs = network_name(&world.settings.prefix, key.app, network);
                assert_ne!(*name, needs, "{told}: {key} needs it");
            }
        }
    }
    let (key, id, stops) = match step {
        Step::Stop { service, id, .. } => (*service, id, true),
        Step::Remove { service, id } => (*service, id, false),
        _ => return,
    };
    let target = world
        .observed
        .containers
        .iter()
        .find(|c| c.id == *id)
        .unwrap();
    if stops {
        keeps_to_its_lock(world, target, &told);
    }
    let Some(spec) = world.wanted.services.get(&key).filter(|spec| spec.running) else {
        return;
    };
    let of = world.memory.of(key);
    let good = of.and_then(|of| of.good.as_ref());
    let wants = spec.fingerprint();
    let print = good.map(|good| good.fingerprint());
    let others: Vec<&Container> = world
        .observed
        .containers
        .iter()
        .filter(|c| c.service == key && c.id != *id)
        .filter(|c| !matches!(c.state, ContainerState::Dead | ContainerState::Removing))
        .collect();
    if !stops {
        assert!(!target.is_active(), "{told}: it runs");
        let is_good = print.as_ref() == Some(&target.fingerprint);
        let left = others
            .iter()
            .any(|c| Some(&c.fingerprint) == print.as_ref());
        let dead = target.state == ContainerState::Dead;
        assert!(!is_good || left || dead, "{told}: it is the last good one");
        return;
    }
    let successor =
        |c: &&&Container| c.fingerprint == wants || Some(&c.fingerprint) == print.as_ref();
    assert!(
        others.iter().any(|c| successor(&c)),
        "{told}: no successor is made"
    );
    let goes_back = target.fingerprint == wants
        && print.is_some()
        && print.as_ref() != Some(&wants)
        && others.iter().all(|c| c.fingerprint != wants);
    if goes_back {
        let failed = of.and_then(|of| of.failed.as_ref());
        let noted = failed.is_some_and(|f| f.fingerprint == wants && f.class.is_final());
        assert!(noted, "{told}: it goes back before that is written down");
    }
    let was_good = print.as_ref() == Some(&target.fingerprint);
    if spec.update == UpdateStrategy::BlueGreen && was_good && serves(target, key) {
        let one_left = others.iter().any(|c| serves(c, key));
        assert!(one_left, "{told}: nobody serves then");
    }
}

/// While somebody holds a lock of a service, what runs of it is not stopped: but for its longest time, a failure's sake,
/// an update that had begun before, or where the wanted one runs beside it already.
fn keeps_to_its_lock(world: &World, target: &Container, told: &str) {
    let key = target.service;
    if !world.locks().contains_key(&key) {
        return;
    }
    let of = world.memory.of(key).cloned().unwrap_or_default();
    let spec = world.wanted.services.get(&key).filter(|spec| spec.running);
    let wants = spec.map(ServiceSpec::fingerprint).unwrap_or_default();
    let longest = spec
        .or(of.good.as_ref())
        .and_then(|spec| spec.lock.as_ref());
    let longest = TimeDelta::seconds(longest.map_or(0, |lock| lock.longest_seconds).into());
    let update = of.update.filter(|update| update.fingerprint == wants);
    let update = update.as_ref();
    let held_for = update
        .and_then(|update| update.locked_since)
        .map(|since| world.now - since);
    let begun = update.is_some_and(|update| update.started_at.is_some());
    let failed = of.failed.is_some_and(|failed| failed.fingerprint == wants);
    let beside = spec.is_some_and(|spec| spec.update == UpdateStrategy::BlueGreen)
        || world
            .observed
            .containers
            .iter()
            .any(|c| c.service == key && c.fingerprint == wants && c.is_active());
    assert!(
        begun || failed || beside || held_for.is_some_and(|held| held >= longest),
        "{told}: its lock is held"
    );
}

fn only_own(world: &World, step: &Step, told: &str) {
    let (key, id) = match step {
        Step::Start { service, id }
        | Step::Serve { service, id }
        | Step::Stop { service, id, .. }
        | Step::Restart { service, id, .. }
        | Step::Remove { service, id } => (service, id),
        Step::Create { service, .. }
        | Step::Pull { service, .. }
        | Step::Inspect { service, .. }
        | Step::Remember { service, .. }
        | Step::Forget { service } => {
            assert!(
                !world.wanted.refused.contains_key(service),
                "{told}: it is refused"
            );
            return;
        }
        _ => return,
    };
    assert!(
        !world.wanted.refused.contains_key(key),
        "{told}: it is refused"
    );
    let own = world
        .observed
        .containers
        .iter()
        .any(|c| c.id == *id && c.service == *key);
    assert!(own, "{told}: it is not ours");
}
