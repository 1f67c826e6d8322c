//! Keeping the container of a spec up, and sending away what is not of it.

use super::bring::{Room, again, up};
use super::gates::make_room;
use super::look::{Look, Made};
use super::turn::{Rank, Turn};
use super::verify::is_dead;
use crate::memory::FailureClass;
use crate::observed::{Container, ContainerState};
use crate::spec::{ServiceKey, UpdateStrategy};
use crate::step::Step;
use crate::view::{Phase, ViewedError};

/// What becomes of the service's containers of other specs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others<'a> {
    /// They go.
    Go,
    /// They go, but for those of this fingerprint.
    GoBut(&'a str),
    /// They stay as they are.
    Stay,
}

impl Others<'_> {
    fn is_to_go(self, container: &Container) -> bool {
        match self {
            Self::Go => true,
            Self::GoBut(print) => container.fingerprint != print,
            Self::Stay => false,
        }
    }
}

/// Keeps a spec up: its container is to run, and to serve.
pub(super) fn keep_up(
    look: &Look<'_>,
    key: ServiceKey,
    made: &Made<'_>,
    others: Others<'_>,
    room: Room,
) -> Turn {
    match look.best(key, &made.print) {
        Some(c) if c.is_active() => keep(look, made, c, others),
        Some(c) if look.is_over(made.spec, c) => over(look, c, others),
        _ => up(look, key, made, room),
    }
}

/// Keeps a container up that runs.
pub(super) fn keep(
    look: &Look<'_>,
    made: &Made<'_>,
    container: &Container,
    others: Others<'_>,
) -> Turn {
    let key = container.service;
    let id = container.id.clone();
    if container.state == ContainerState::Paused {
        return Turn::go(Phase::Running, Rank::Now, Step::Start { service: key, id });
    }
    if let Some(turn) = serve(made, container) {
        return turn;
    }
    if is_dead(made.spec, container) {
        let restart = Step::Restart {
            service: key,
            id,
            grace_seconds: container
                .stop_seconds
                .unwrap_or(look.settings.grace_seconds),
        };
        // Meanwhile the others can go.
        return again(look, container, Phase::Running, restart)
            .or_step_of(send_away(look, container, others));
    }
    if let Some(turn) = drains(look, made, container) {
        return turn;
    }
    send_away(look, container, others)
}

/// The time in which the old container goes on beside the new one that has the name. Whoever looked the name up before,
/// or met the new one before the engine had brought up its network, finds the old one in it.
fn drains(look: &Look<'_>, made: &Made<'_>, container: &Container) -> Option<Turn> {
    let beside = made.spec.update == UpdateStrategy::BlueGreen;
    let takes = made
        .spec
        .drain_seconds
        .unwrap_or(look.settings.drain_seconds);
    let left = takes.saturating_sub(container.served_seconds);
    let others = look.others(container.service, Some(container));
    let old = others
        .iter()
        .any(|c| c.serving && c.state == ContainerState::Running);
    let why = "clients of the old container to move on";
    (beside && left > 0 && old)
        .then(|| Turn::wait(Phase::Running, why, Some(look.after(look.now, left))))
}

/// The step that gives a running container the service's name, where it does not have it.
pub(super) fn serve(made: &Made<'_>, container: &Container) -> Option<Turn> {
    let has_names = made.spec.container.network_mode.is_none();
    let running = container.state == ContainerState::Running;
    (running && has_names && !container.serving).then(|| {
        let id = container.id.clone();
        let service = container.service;
        Turn::go(Phase::Running, Rank::Now, Step::Serve { service, id })
    })
}

/// A container that has ended for good is left as it is.
pub(super) fn over(look: &Look<'_>, container: &Container, others: Others<'_>) -> Turn {
    let mut turn = send_away(look, container, others);
    if container.exit_code != Some(0) {
        turn.error = Some(ViewedError {
            class: FailureClass::CrashLoop,
            message: super::verify::how_it_ended(container),
            tries: container.restarts.saturating_add(1),
            next_try_at: None,
        });
    }
    turn
}

fn send_away(look: &Look<'_>, container: &Container, others: Others<'_>) -> Turn {
    let others: Vec<&Container> = look
        .others(container.service, Some(container))
        .into_iter()
        .filter(|c| c.fingerprint == container.fingerprint || others.is_to_go(c))
        .collect();
    if let Some(old) = others.iter().find(|c| c.is_active()) {
        return make_room(look, Phase::Running, old);
    }
    match others.first() {
        Some(old) => Turn::go(Phase::Running, Rank::Clean, look.remove(old)),
        None => Turn::rest(Phase::Running),
    }
}

/// What can go while the wanted spec has not proved itself: what does not run and is neither of it nor
/// of the last good one.
pub(super) fn clear(look: &Look<'_>, key: ServiceKey) -> Option<(Rank, Step)> {
    let specs = look.specs(key);
    let kept = |c: &Container| {
        [&specs.wanted, &specs.good]
            .into_iter()
            .flatten()
            .any(|made| made.print == c.fingerprint)
    };
    let old = look
        .containers(key)
        .iter()
        .find(|c| !c.is_active() && !kept(c))?;
    Some((Rank::Clean, look.remove(old)))
}
