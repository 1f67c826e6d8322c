//! What a service waits for before its container is changed: what it depends on, its ports, its lock.

use super::image::is_there;
use super::look::{Look, Made};
use super::turn::{Turn, run_of};
use super::verify::{Verdict, judge};
use crate::ask;
use crate::memory::Update;
use crate::observed::{Container, ContainerState};
use crate::spec::{DependsOn, ServiceKey, ServiceSpec};
use crate::step::Note;
use crate::view::Phase;
use std::collections::BTreeSet;

/// What stands in the way of starting the wanted spec; none: nothing.
pub(super) fn closed(look: &Look<'_>, key: ServiceKey, wanted: &Made<'_>) -> Option<Turn> {
    let reason = depends(look, key, wanted.spec).or_else(|| ports(look, key, wanted.spec));
    if let Some(reason) = reason {
        return Some(Turn::wait(Phase::Waiting, reason, None));
    }
    let runs = look.containers(key).iter().any(|c| c.is_active());
    if runs {
        lock(look, key, &wanted.print)
    } else {
        None
    }
}

/// The first thing a service depends on that is not as it should be.
fn depends(look: &Look<'_>, key: ServiceKey, spec: &ServiceSpec) -> Option<String> {
    spec.depends_on.iter().find_map(|(name, condition)| {
        let Some(below) = look.named(key.app, name) else {
            return Some(format!("{name}, which is not there"));
        };
        is_met(look, below, *condition)
            .is_none()
            .then(|| match condition {
                DependsOn::Started => format!("{name} to be started"),
                DependsOn::Healthy => format!("{name} to be healthy"),
                DependsOn::Completed => format!("{name} to complete"),
            })
    })
}

/// Whether a service is as another one needs it, by the spec that is to run.
fn is_met(look: &Look<'_>, key: ServiceKey, condition: DependsOn) -> Option<()> {
    let effective = effective(look, key)?;
    let container = look.best(key, &effective.print)?;
    let over = look.is_over(effective.spec, container);
    let completed = over && container.exit_code == Some(0);
    let met = match condition {
        DependsOn::Completed => completed,
        DependsOn::Started => over || container.state == ContainerState::Running,
        DependsOn::Healthy => {
            completed
                || container.state == ContainerState::Running
                    && judge(look, effective.spec, container) == Verdict::Proved
        }
    };
    met.then_some(())
}

/// The spec of a service that is to run: the wanted one, or the last good one where the wanted one failed.
pub(super) fn effective<'a>(look: &Look<'a>, key: ServiceKey) -> Option<Made<'a>> {
    let specs = look.specs(key);
    let wanted = specs.wanted.clone().filter(|w| w.spec.running)?;
    let active = look
        .best(key, &wanted.print)
        .is_some_and(Container::is_active);
    let held = match look.failed(key) {
        Some(failed) => failed.class.is_final() || !active,
        None => super::serve::cannot_stand_beside(look, key) && !active,
    };
    match specs.way_back() {
        Some(good) if held => Some(good.clone()),
        _ => Some(wanted),
    }
}

/// Whether two specs would listen on the same port of the host.
pub(super) fn collide(one: &ServiceSpec, other: &ServiceSpec) -> bool {
    let on_host = |spec: &ServiceSpec| spec.container.network_mode.as_deref() == Some("host");
    let ports = &other.container.ports;
    on_host(one) && on_host(other)
        || one
            .container
            .ports
            .iter()
            .any(|port| ports.iter().any(|o| o.collides(port)))
}

/// Whether a container listens on a port of the host that a spec wants.
pub(super) fn takes_port_of(container: &Container, spec: &ServiceSpec) -> bool {
    let wants = &spec.container.ports;
    container.is_active()
        && container
            .ports
            .iter()
            .any(|p| wants.iter().any(|w| w.collides(p)))
}

/// The other services' containers that listen where this spec wants to.
pub(super) fn in_the_way<'a>(
    look: &Look<'a>,
    key: ServiceKey,
    spec: &ServiceSpec,
) -> Vec<&'a Container> {
    let others = look.all_containers().filter(|c| c.service != key);
    others.filter(|c| takes_port_of(c, spec)).collect()
}

/// What is said of a port that another has.
pub(super) fn has_port(container: &Container) -> String {
    format!("a port of the host that {} has", container.service_name)
}

/// Another service's container that listens where this spec wants to, and will not stop because of it.
fn ports(look: &Look<'_>, key: ServiceKey, spec: &ServiceSpec) -> Option<String> {
    let blocking = in_the_way(look, key, spec);
    let stays = blocking
        .into_iter()
        .find(|c| !gives_way(look, c.service, key));
    stays.map(has_port)
}

/// Whether a service only waits for the ports of `to`, by way of others or not: two services that change
/// places would wait for one another for ever.
fn gives_way(look: &Look<'_>, key: ServiceKey, to: ServiceKey) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![key];
    while let Some(key) = open.pop() {
        if !seen.insert(key) {
            continue;
        }
        let Some(wanted) = look.specs(key).wanted.filter(|w| w.spec.running) else {
            continue;
        };
        let container = look.best(key, &wanted.print);
        let made = container.is_some_and(|c| !c.is_active());
        if !made && (container.is_some() || !is_there(look, &wanted.spec.image))
            || look.failed(key).is_some()
        {
            continue;
        }
        for blocking in in_the_way(look, key, wanted.spec) {
            if blocking.service == to {
                return true;
            }
            open.push(blocking.service);
        }
    }
    false
}

/// The lock of a service of which something runs; none: it is free, or was held for long enough.
pub(super) fn lock(look: &Look<'_>, key: ServiceKey, print: &str) -> Option<Turn> {
    let lock = ask::lock(look.wanted, look.memory, key)?;
    let holder = look.observed.locks.get(&key)?;
    let update = look.update(key, print);
    let since = update
        .and_then(|update| update.locked_since)
        .filter(|since| *since <= look.now);
    let Some(since) = since else {
        let note = Note::Update(Update {
            fingerprint: print.to_owned(),
            locked_since: Some(look.now),
            started_at: update.and_then(|update| update.started_at),
        });
        return Some(Turn::note(Phase::Waiting, key, note));
    };
    let until = look.after(since, lock.longest_seconds);
    let holder = if holder.trim().is_empty() {
        "somebody"
    } else {
        holder.trim()
    };
    let why = format!("the update lock that {holder} holds");
    (until > look.now).then(|| Turn::wait(Phase::Waiting, why, Some(until)))
}

/// The step that stops a container to make room. The run is written down first where its policy
/// would take it for one that has ended by itself.
pub(super) fn make_room(look: &Look<'_>, phase: Phase, container: &Container) -> Turn {
    use crate::spec::Restart;
    let key = container.service;
    let spec = look.spec_of(container);
    // Of one that somebody else made it is always told who stopped it: a person's stop stands.
    let matters = |spec: &ServiceSpec| {
        spec.container.restart != Restart::UnlessStopped || spec.container.is_taken()
    };
    if !look.was_stopped(container) && spec.is_some_and(matters) {
        return Turn::note(phase, key, Note::Stopping(run_of(container)));
    }
    Turn::go(phase, super::turn::Rank::Now, look.stop(container))
}
