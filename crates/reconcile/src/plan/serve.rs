//! A service that is to run: forward to the wanted spec, or back to the last good one.

use super::bring::{Room, again, up};
use super::gates::{closed, collide};
use super::image::is_there;
use super::keep::{Others, clear, keep, keep_up, over, serve};
use super::look::{Look, Made, Specs};
use super::turn::{Rank, Turn};
use super::verify::{Verdict, crash_loop, is_dead, judge, restarts};
use crate::memory::{Failed, FailureClass};
use crate::observed::{Container, ContainerState};
use crate::outcome::{StepFailure, failed};
use crate::spec::{ServiceKey, UpdateStrategy};
use crate::step::{Note, Step};
use crate::view::{Phase, ViewedError};

/// What a service that is to run would do next.
pub(super) fn turn(look: &Look<'_>, key: ServiceKey) -> Turn {
    let specs = look.specs(key);
    let Some(wanted) = &specs.wanted else {
        return Turn::rest(Phase::Waiting);
    };
    let failed = look.failed(key);
    let container = look.best(key, &wanted.print);
    let active = container.filter(|c| c.is_active());
    if let (Some(failed), Some(good)) = (failed, specs.way_back())
        && failed.class.is_final()
    {
        let room = room(look, key);
        return keep_up(look, key, good, Others::Go, room).failed(failed);
    }
    if active.is_none() && cannot_stand_beside(look, key) {
        return refused(look, key, &specs, wanted);
    }
    if let Some(failed) = failed
        && active.is_none()
        && !is_due(look, failed)
    {
        return hold(look, key, &specs, true).failed(failed);
    }
    match (active, container) {
        (Some(active), _) if specs.proven() => {
            proven(look, key, wanted, active).unwrap_or_else(|| {
                let turn = keep(look, wanted, active, Others::Go);
                failed.map_or(turn.clone(), |failed| turn.failed(failed))
            })
        }
        (Some(active), _) => {
            let mut turn = verifying(look, key, &specs, wanted, active);
            turn.step = turn.step.or_else(|| clear(look, key));
            turn
        }
        (None, Some(ended)) if look.is_over(wanted.spec, ended) => {
            ended_by_itself(look, key, &specs, wanted, ended)
        }
        (None, _) => forward(look, key, &specs, wanted),
    }
}

/// Whether a failure is tried again now.
fn is_due(look: &Look<'_>, failed: &Failed) -> bool {
    match failed.next_try_at {
        Some(at) => look.has_come(at, look.settings.retry_longest_seconds),
        // Of its own fault it goes on trying by its restart policy; the rest waits for a new version.
        None => failed.class.is_final(),
    }
}

/// Whether a service is to be handed over from one container to another that both want the same
/// port of the host.
pub(super) fn cannot_stand_beside(look: &Look<'_>, key: ServiceKey) -> bool {
    let specs = look.specs(key);
    match (&specs.wanted, specs.way_back()) {
        (Some(wanted), Some(good)) => {
            wanted.spec.update == UpdateStrategy::BlueGreen && collide(wanted.spec, good.spec)
        }
        _ => false,
    }
}

fn refused(look: &Look<'_>, key: ServiceKey, specs: &Specs<'_>, wanted: &Made<'_>) -> Turn {
    let mut turn = match specs.way_back() {
        Some(good) => {
            let others = Others::GoBut(&wanted.print);
            keep_up(look, key, good, others, Room::Make)
        }
        None => Turn::rest(Phase::Failed),
    };
    turn.phase = Phase::Failed;
    turn.error = Some(ViewedError {
        class: FailureClass::Config,
        message: "blue-green needs both containers at once, and both want the same port of the \
                  host: publish a range or no fixed port, or use recreate"
            .to_owned(),
        tries: 1,
        next_try_at: None,
    });
    turn
}

/// Whether the new one is started beside the old one.
fn room(look: &Look<'_>, key: ServiceKey) -> Room {
    let wanted = look.specs(key).wanted;
    let blue_green = wanted.is_some_and(|w| w.spec.update == UpdateStrategy::BlueGreen);
    if blue_green && !cannot_stand_beside(look, key) {
        Room::Share
    } else {
        Room::Make
    }
}

/// What goes on while the wanted spec cannot be started yet: the last good one is kept up. `strictly`: also in place
/// of what runs and is neither of them.
fn hold(look: &Look<'_>, key: ServiceKey, specs: &Specs<'_>, strictly: bool) -> Turn {
    let (Some(good), Some(wanted)) = (specs.way_back(), &specs.wanted) else {
        return Turn::rest(Phase::Waiting);
    };
    if strictly {
        return keep_up(look, key, good, Others::GoBut(&wanted.print), Room::Make);
    }
    let runs = look
        .containers(key)
        .iter()
        .any(|c| c.is_active() && c.fingerprint != good.print);
    if runs {
        return Turn::rest(Phase::Waiting);
    }
    keep_up(look, key, good, Others::Stay, Room::Make)
}

/// Towards the wanted spec, of which nothing runs.
fn forward(look: &Look<'_>, key: ServiceKey, specs: &Specs<'_>, wanted: &Made<'_>) -> Turn {
    let made = look.best(key, &wanted.print).is_some();
    let update = look.update(key, &wanted.print);
    let under_way = made && update.is_some_and(|update| update.started_at.is_some());
    if let Some(failure) = ended_too_often(look, key, specs, wanted) {
        return fail(look, key, wanted, &failure);
    }
    if !under_way {
        if !made && !is_there(look, &wanted.spec.image) {
            let fetch = super::image::fetch(look, key, wanted);
            let held = hold(look, key, specs, false);
            return if held.step.is_some() {
                merge(fetch, held)
            } else {
                fetch
            };
        }
        if let Some(closed) = closed(look, key, wanted) {
            let held = hold(look, key, specs, false);
            return if held.step.is_some() {
                merge(closed, held)
            } else {
                closed
            };
        }
    }
    up(look, key, wanted, room(look, key))
}

/// A container that never runs for long enough to be seen is known by how often it was started.
fn ended_too_often(
    look: &Look<'_>,
    key: ServiceKey,
    specs: &Specs<'_>,
    wanted: &Made<'_>,
) -> Option<StepFailure> {
    let ended = look.best(key, &wanted.print)?;
    let noted = look
        .failed(key)
        .is_some_and(|failed| failed.class.is_final());
    if ended.state != ContainerState::Exited || specs.proven() || noted {
        return None;
    }
    let restarts = restarts(look, ended);
    (restarts >= look.settings.crash_restarts).then(|| crash_loop(ended, restarts))
}

/// What is told of one turn, with the step of the other.
fn merge(told: Turn, done: Turn) -> Turn {
    Turn { step: None, ..told }.or_step_of(done)
}

/// The wanted spec proved itself before; what is remembered of it is brought up to date. None: it is.
fn proven(look: &Look<'_>, key: ServiceKey, wanted: &Made<'_>, active: &Container) -> Option<Turn> {
    let of = look.remembered(key)?;
    let as_it_is =
        of.good.as_ref() == Some(wanted.spec) && of.failed.is_none() && of.update.is_none();
    if as_it_is || judge(look, wanted.spec, active) != Verdict::Proved {
        return None;
    }
    let good = Note::Good(Box::new(wanted.spec.clone()));
    Some(Turn::note(Phase::Running, key, good))
}

/// The wanted spec runs and has not proved itself.
fn verifying(
    look: &Look<'_>,
    key: ServiceKey,
    specs: &Specs<'_>,
    wanted: &Made<'_>,
    active: &Container,
) -> Turn {
    let id = active.id.clone();
    if active.state == ContainerState::Paused {
        return Turn::go(
            Phase::Verifying,
            Rank::Now,
            Step::Start { service: key, id },
        );
    }
    let noted = look.failed(key).filter(|failed| failed.class.is_final());
    match judge(look, wanted.spec, active) {
        Verdict::Proved => serve(wanted, active).unwrap_or_else(|| {
            let good = Note::Good(Box::new(wanted.spec.clone()));
            Turn::note(Phase::Verifying, key, good)
        }),
        Verdict::Failed(failure) => match noted {
            // There is nothing better: it is left to its restart policy, and to its liveness probe.
            Some(noted) if is_dead(wanted.spec, active) => {
                let grace_seconds = active.stop_seconds.unwrap_or(look.settings.grace_seconds);
                let restart = Step::Restart {
                    service: key,
                    id,
                    grace_seconds,
                };
                again(look, active, Phase::Failed, restart).failed(noted)
            }
            Some(noted) => serve(wanted, active)
                .unwrap_or_else(|| Turn::rest(Phase::Failed))
                .failed(noted),
            None => fail(look, key, wanted, &failure),
        },
        Verdict::Open { why, until, ready } => {
            let others = look.others(key, Some(active));
            let another_serves = others
                .iter()
                .any(|c| c.serving && c.state == ContainerState::Running);
            let room = room(look, key);
            if (room == Room::Make || ready && !another_serves)
                && let Some(turn) = serve(wanted, active)
            {
                return Turn {
                    phase: Phase::Verifying,
                    ..turn
                };
            }
            let mut turn = Turn::wait(Phase::Verifying, why, Some(until));
            if let Some(good) = specs.way_back().filter(|_| room == Room::Share) {
                // Until then the old one is the one that counts.
                turn = turn.or_step_of(keep_up(look, key, good, Others::Stay, Room::Share));
            }
            noted.map_or(turn.clone(), |noted| turn.failed(noted))
        }
    }
}

/// The wanted spec ended, and its policy leaves it so.
fn ended_by_itself(
    look: &Look<'_>,
    key: ServiceKey,
    specs: &Specs<'_>,
    wanted: &Made<'_>,
    ended: &Container,
) -> Turn {
    if specs.proven() {
        let of = look.remembered(key);
        let as_it_is = of.is_some_and(|of| {
            of.good.as_ref() == Some(wanted.spec) && of.failed.is_none() && of.update.is_none()
        });
        if ended.exit_code == Some(0) && !as_it_is {
            let good = Note::Good(Box::new(wanted.spec.clone()));
            return Turn::note(Phase::Running, key, good);
        }
        return over(look, ended, Others::Go);
    }
    if ended.exit_code == Some(0) {
        let good = Note::Good(Box::new(wanted.spec.clone()));
        return Turn::note(Phase::Verifying, key, good);
    }
    match look.failed(key).filter(|failed| failed.class.is_final()) {
        Some(noted) => over(look, ended, Others::Stay).failed(noted),
        None => {
            let failure = StepFailure {
                class: FailureClass::CrashLoop,
                message: super::verify::how_it_ended(ended),
            };
            fail(look, key, wanted, &failure)
        }
    }
}

fn fail(look: &Look<'_>, key: ServiceKey, wanted: &Made<'_>, failure: &StepFailure) -> Turn {
    let version = look.wanted.version;
    let failed = failed(
        key,
        wanted.spec,
        failure,
        version,
        look.memory,
        look.settings,
        look.now,
    );
    Turn::note(Phase::Failed, key, Note::Failed(failed.clone())).failed(&failed)
}
