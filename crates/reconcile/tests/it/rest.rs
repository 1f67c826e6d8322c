//! Coming to rest: what is true of a world in which nothing goes wrong any more.

use crate::lives::behaviour;
use crate::model::{Behaviour, World};
use crate::watch;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;
use windlass_reconcile::observed::{Container, ContainerState, Health};
use windlass_reconcile::spec::{Restart, ServiceKey, ServiceSpec};
use windlass_reconcile::step::Step;

/// Steps at one moment at most: three services change all that they have in fewer.
const AT_ONCE: usize = 60;
/// How often time is let pass: pauses are at their longest before that, and every deadline is over.
const PASSES: usize = 80;
/// Of these only the last ones show what is done for ever.
const LAST: usize = 20;

/// The plan's step, after it was looked at: it breaks no law, and listing things in another order changes nothing.
pub(crate) fn planned(world: &World) -> Option<Step> {
    let plan = world.plan();
    if world.is_looked_at_closely() {
        let mut turned = world.clone();
        turned.observed.containers.reverse();
        turned.observed.images.reverse();
        assert_eq!(
            turned.plan(),
            plan,
            "the order in which things are listed changes nothing"
        );
    }
    if let Some(step) = &plan.step {
        watch::check(world, step);
    }
    plan.step
}

/// Lets a world come to rest: the time for whatever is put off to come, many times over. What fails for ever is
/// tried again for ever, each time as late as it is ever put off, and nothing else is done.
pub(crate) fn come_to_rest(world: &mut World) {
    let mut quiet = 0;
    let mut done: Vec<(usize, DateTime<Utc>, Step)> = Vec::new();
    for pass in 0..PASSES {
        world
            .observed
            .containers
            .retain(|c| c.state != ContainerState::Removing);
        let before = done.len();
        while let Some(step) = planned(world) {
            done.push((pass, world.now, step.clone()));
            let told = |(_, _, step): &(usize, DateTime<Utc>, Step)| world.told(step);
            let last = &done[done.len().saturating_sub(20)..];
            assert!(
                done.len() - before < AT_ONCE,
                "it does not come to an end: {:#?}",
                last.iter().map(told).collect::<Vec<_>>()
            );
            world.carry_out(&step);
        }
        let due = world.plan().look_again_at;
        quiet = if due.is_none() && done.len() == before {
            quiet + 1
        } else {
            0
        };
        if quiet == 4 {
            return;
        }
        if pass + 1 == PASSES {
            // Not in the middle of a try.
            break;
        }
        let seconds = due.map_or(30, |due| (due - world.now).num_seconds().clamp(1, 3600));
        world.pass(seconds);
    }
    let longest = TimeDelta::seconds(i64::from(world.settings.restart_longest_seconds));
    let mut last: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
    for (_, at, step) in done.iter().filter(|(pass, ..)| pass + LAST >= PASSES) {
        let told = world.told(step);
        assert!(
            matches!(
                step.name(),
                "inspect" | "pull" | "create" | "start" | "restart" | "remember"
            ),
            "{told}: done for ever"
        );
        let about = format!("{} {told}", step.subject());
        if let Some(before) = last.insert(about, *at) {
            assert!(
                *at - before >= longest,
                "{told}: again after {}",
                *at - before
            );
        }
    }
}

fn active(world: &World, key: ServiceKey) -> Vec<&Container> {
    let all = world.observed.containers.iter();
    all.filter(|c| c.service == key && c.is_active()).collect()
}

/// What is true of a world at rest.
pub(crate) fn at_rest(world: &World) {
    let stopped_below = |key: ServiceKey, spec: &ServiceSpec| {
        let mut below = vec![(key, spec)];
        while let Some((key, spec)) = below.pop() {
            for name in spec.depends_on.keys() {
                let found = world
                    .wanted
                    .services
                    .iter()
                    .find(|(k, s)| k.app == key.app && s.name == *name);
                let Some((key, spec)) = found else {
                    return true;
                };
                let of = world.memory.of(*key);
                let proven = of.and_then(|of| of.good.as_ref()).is_some();
                if !spec.running || !proven || of.is_some_and(|of| of.failed.is_some()) {
                    return true;
                }
                below.push((*key, spec));
            }
        }
        false
    };
    for (key, spec) in &world.wanted.services {
        let runs = active(world, *key);
        let of = world.memory.of(*key).cloned().unwrap_or_default();
        if !spec.running {
            assert!(runs.is_empty(), "{key} is to be stopped");
            continue;
        }
        if stopped_below(*key, spec) {
            continue;
        }
        let version = spec.image.rsplit('v').next().unwrap().parse().unwrap();
        let well = behaviour(version) == Behaviour::Well
            || behaviour(version) == Behaviour::NotReady && spec.probes.readiness.is_none();
        // What its own restart policy leaves ended is over, whatever ended it.
        let is_over = |c: &&Container| {
            c.state == ContainerState::Exited
                && c.exit_code != Some(143)
                && world.specs[&c.id].container.restart != Restart::UnlessStopped
        };
        let mut of_service = world
            .observed
            .containers
            .iter()
            .filter(|c| c.service == *key);
        if of_service.any(|c| is_over(&c)) {
            continue;
        }
        let view = world
            .plan()
            .views
            .into_iter()
            .find(|view| view.key == *key)
            .unwrap();
        let said = || {
            format!(
                "{key} {}: {view:#?} {of:#?} {:#?}",
                spec.image, world.observed
            )
        };
        let unwell = view
            .health
            .as_ref()
            .is_some_and(|health| health.status == Health::Unhealthy);
        let held = view.error.is_some() || view.waits.is_some() || unwell;
        let good = of
            .good
            .as_ref()
            .filter(|good| good.fingerprint() != spec.fingerprint());
        if let Some(good) = good {
            assert!(
                held,
                "another one than the wanted is good, and nobody says why: {}",
                said()
            );
            // Unless another service has its port since.
            if view.waits.is_some() && runs.iter().all(|c| c.fingerprint != good.fingerprint()) {
                continue;
            }
            let of_good = runs.iter().filter(|c| c.fingerprint == good.fingerprint());
            assert!(of_good.count() == 1, "it is not back: {}", said());
            assert!(
                runs.iter().all(|c| c.serving),
                "it does not serve: {}",
                said()
            );
        } else if well && view.error.is_none() && view.waits.is_none() {
            assert_eq!(of.good.as_ref(), Some(spec), "it is not good: {}", said());
            assert_eq!(runs.len(), 1, "{}", said());
            assert!(
                runs[0].serving && runs[0].fingerprint == spec.fingerprint(),
                "{}",
                said()
            );
            let all = world
                .observed
                .containers
                .iter()
                .filter(|c| c.service == *key);
            assert_eq!(all.count(), 1, "{}", said());
        } else {
            assert!(held, "{}", said());
        }
    }
    for container in &world.observed.containers {
        let key = container.service;
        let there = world.wanted.services.contains_key(&key);
        assert!(
            there || world.wanted.refused.contains_key(&key),
            "{key} is to be gone"
        );
    }
    for key in world.memory.services.keys() {
        let there = world.wanted.services.contains_key(key);
        assert!(
            there || world.wanted.refused.contains_key(key),
            "{key} is remembered"
        );
    }
}
