//! Bringing up the container of a spec that has none running.

use super::gates::{has_port, in_the_way, make_room, takes_port_of};
use super::image::{fetch, is_there};
use super::look::{Look, Made};
use super::turn::{Rank, Turn, run_of};
use crate::memory::{FailureClass, Restarts, Update};
use crate::observed::Container;
use crate::outcome::{StepFailure, failed, pause};
use crate::spec::ServiceKey;
use crate::step::{Note, Step, network_name};
use crate::view::Phase;

/// What becomes of the service's other containers that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// They are stopped before it is started.
    Make,
    /// They go on running beside it.
    Share,
}

/// The next step towards a running container of this spec. Nothing is stopped before it is made.
pub(super) fn up(look: &Look<'_>, key: ServiceKey, made: &Made<'_>, room: Room) -> Turn {
    let container = look.best(key, &made.print);
    let specs = look.specs(key);
    let is_new = specs.wanted.as_ref().is_some_and(|w| w.print == made.print) && !specs.proven();
    let Some(container) = container else {
        return create(look, key, made, is_new && room == Room::Share);
    };
    if is_new
        && look
            .update(key, &made.print)
            .is_none_or(|update| update.started_at.is_none())
    {
        // From here on it is under way, whatever locks or others say.
        let update = look.update(key, &made.print);
        let note = Note::Update(Update {
            fingerprint: made.print.clone(),
            locked_since: update.and_then(|update| update.locked_since),
            started_at: Some(look.now),
        });
        return Turn::note(Phase::Starting, key, note);
    }
    let blocking = in_the_way(look, key, made.spec);
    if let Some(blocking) = blocking.first().filter(|_| !is_new) {
        // What runs instead is better than nothing.
        return Turn::wait(Phase::Waiting, has_port(blocking), None);
    }
    let others = look.others(key, Some(container));
    let in_way =
        |c: &&&Container| c.is_active() && (room == Room::Make || takes_port_of(c, made.spec));
    if let Some(old) = others.iter().find(in_way) {
        return make_room(look, Phase::Starting, old);
    }
    if let Some(blocking) = blocking.first() {
        return port_taken(look, key, made, blocking);
    }
    let start = Step::Start {
        service: key,
        id: container.id.clone(),
    };
    if container.started_at.is_none() {
        return Turn::go(Phase::Starting, Rank::Now, start);
    }
    again(look, container, Phase::Starting, start)
}

fn create(look: &Look<'_>, key: ServiceKey, made: &Made<'_>, quietly: bool) -> Turn {
    if !is_there(look, &made.spec.image) {
        return fetch(look, key, made);
    }
    for network in made.spec.container.networks.keys() {
        let name = network_name(&look.settings.prefix, key.app, network);
        if look.observed.networks.contains_key(&name) {
            continue;
        }
        if let Some(aside) = look.aside(&name) {
            let why = format!("its network {name}: {}", aside.message);
            return Turn::wait(Phase::Pulled, why, Some(aside.until));
        }
        let app = key.app;
        return Turn::go(Phase::Pulled, Rank::Now, Step::CreateNetwork { name, app });
    }
    let step = Step::Create {
        service: key,
        spec: Box::new(made.spec.clone()),
        name: free_name(look, key, made),
        serving: !quietly,
    };
    Turn::go(Phase::Starting, Rank::Now, step)
}

/// A name that no container of ours has: what it is, and the beginning of its fingerprint.
fn free_name(look: &Look<'_>, key: ServiceKey, made: &Made<'_>) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let name: String = made.spec.name.chars().filter(is_plain).take(40).collect();
    let print: String = made.print.chars().take(8).collect();
    let prefix = &look.settings.prefix;
    let name = format!("{prefix}-{name}-{}-{}-{print}", key.app, key.service);
    let is_free = |name: &String| look.observed.containers.iter().all(|c| c.name != *name);
    let others = (2_u32..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.clone())
        .chain(others)
        .find(is_free)
        .unwrap_or(name)
}

/// Another service listens on a port that is wanted here. It may be about to move away.
fn port_taken(look: &Look<'_>, key: ServiceKey, made: &Made<'_>, blocking: &Container) -> Turn {
    let update = look.update(key, &made.print);
    let Some(started) = update.and_then(|update| update.started_at) else {
        return Turn::wait(Phase::Waiting, has_port(blocking), None);
    };
    let until = look.after(started, look.settings.deadline_seconds);
    if until > look.now {
        return Turn::wait(Phase::Starting, has_port(blocking), Some(until));
    }
    let failure = StepFailure {
        class: FailureClass::Start,
        message: format!("it needs {}", has_port(blocking)),
    };
    let version = look.wanted.version;
    let failed = failed(
        key,
        made.spec,
        &failure,
        version,
        look.memory,
        look.settings,
        look.now,
    );
    Turn::note(Phase::Failed, key, Note::Failed(failed))
}

/// Starts a container again, or restarts it: written down first, and each time later than the time before.
pub(super) fn again(look: &Look<'_>, container: &Container, phase: Phase, step: Step) -> Turn {
    let key = container.service;
    let run = run_of(container);
    let last = look
        .restarts(key)
        .filter(|last| last.run.id == container.id);
    let (first, longest) = (
        look.settings.restart_first_seconds,
        look.settings.restart_longest_seconds,
    );
    let mut count = 1;
    if let Some(last) = last {
        if last.run == run {
            return Turn::go(phase, Rank::Now, step);
        }
        let due = look.after(last.at, pause(first, longest, last.count));
        if !look.has_come(due, longest) {
            return Turn::wait(phase, "a pause between restarts", Some(due));
        }
        let quiet_for = look.now - last.at;
        if quiet_for.num_seconds() < i64::from(longest).saturating_mul(2) {
            count = last.count.saturating_add(1);
        }
    }
    let at = look.now;
    Turn::note(phase, key, Note::Restarting(Restarts { run, count, at }))
}
