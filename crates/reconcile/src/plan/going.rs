//! Services that are to be stopped or to go.

use super::gates::{lock, make_room};
use super::look::Look;
use super::turn::{Rank, Turn};
use crate::observed::Container;
use crate::spec::ServiceKey;
use crate::step::Step;
use crate::view::Phase;

/// A service that is wanted and not to run: nothing of it runs, and one container is left, so that
/// its logs can be read. Nothing is pulled for it.
pub(super) fn stopped(look: &Look<'_>, key: ServiceKey) -> Turn {
    let containers = look.containers(key);
    if let Some(active) = containers.iter().find(|c| c.is_active()) {
        return lock(look, key, "").unwrap_or_else(|| make_room(look, Phase::Stopped, active));
    }
    let specs = look.specs(key);
    let best = [&specs.wanted, &specs.good]
        .into_iter()
        .flatten()
        .find_map(|made| look.best(key, &made.print))
        .or(containers.last().copied());
    match look.others(key, best).first() {
        Some(other) => Turn::go(Phase::Stopped, Rank::Clean, look.remove(other)),
        None => Turn::rest(Phase::Stopped),
    }
}

/// A service that is wanted no more: its containers go, then what is remembered of it. Its volumes stay.
pub(super) fn gone(look: &Look<'_>, key: ServiceKey) -> Turn {
    let containers = look.containers(key);
    if let Some(active) = containers.iter().find(|c| c.is_active()) {
        if let Some(name) = needed_by(look, key) {
            return Turn::wait(Phase::Stopped, format!("{name} to stop first"), None);
        }
        return lock(look, key, "")
            .unwrap_or_else(|| Turn::go(Phase::Stopped, Rank::Leave, look.stop(active)));
    }
    if let Some(container) = containers.first() {
        return Turn::go(Phase::Stopped, Rank::Leave, look.remove(container));
    }
    if look.is_leaving(key) {
        return Turn::wait(Phase::Stopped, "the engine to remove its container", None);
    }
    Turn::go(Phase::Stopped, Rank::Clean, Step::Forget { service: key })
}

/// Another service that goes, still runs, and depends on this one.
fn needed_by(look: &Look<'_>, key: ServiceKey) -> Option<String> {
    let name = &look.specs(key).good?.spec.name;
    look.memory.services.iter().find_map(|(other, of)| {
        let spec = of.good.as_ref()?;
        let goes = *other != key
            && other.app == key.app
            && !look.wanted.services.contains_key(other)
            && !look.wanted.refused.contains_key(other);
        let runs = look
            .containers(*other)
            .iter()
            .any(|c: &&Container| c.is_active());
        // Of two that name one another the one with the lower id goes first.
        let mutual = look
            .specs(key)
            .good?
            .spec
            .depends_on
            .contains_key(&spec.name)
            && key < *other;
        (goes && runs && !mutual && spec.depends_on.contains_key(name)).then(|| spec.name.clone())
    })
}
