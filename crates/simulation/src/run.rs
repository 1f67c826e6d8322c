//! One run: trouble for a while, then calm, then the reckoning.

use crate::broken::{Broken, Held, Law};
use crate::dice::percent;
use crate::ended::{open, waits};
use crate::ledger::goes_on;
use crate::operators::Button;
use crate::passes::Pass;
use crate::plant;
use crate::world::World;
use chrono::TimeDelta;
use windlass_types::ids::RolloutId;
use windlass_types::policy::Strategy;
use windlass_types::rollout::{CommandKind, DeviceStatus, RolloutStatus, StatusReason};

/// Steps of a run at most.
const STEPS: u32 = 70;
/// Rounds of calm after which everything must have ended or wait for a person. The times at which all
/// windows are closed take no rounds, so that there is one for every batch however seldom they open.
const ROUNDS: u32 = 220;
/// And so many for each device: rules may let them go on, or back, one after the other.
const ROUNDS_EACH: u32 = 8;
/// Rounds after which people end what pauses again and again.
const PATIENCE: u32 = 60;

/// Runs it to its end.
///
/// # Errors
/// The law that was broken.
pub(crate) async fn run(world: &mut World, safety_only: bool) -> Held {
    trouble(world).await?;
    world.finish().await?;
    if safety_only {
        return Ok(());
    }
    calm(world).await?;
    world.finish().await
}

async fn trouble(world: &mut World) -> Held {
    // Something to do from the beginning.
    let first = world.pressed(Button::Push(0, 2));
    world.seen_version(0, 2);
    world.run(vec![first]).await?;
    let steps = world.dice.steps.u32(STEPS / 2..=STEPS);
    for _ in 0..steps {
        match world.dice.steps.u32(..100) {
            0..40 => {
                let by = pause(&mut world.dice.steps);
                world.advance(by).await?;
            }
            40..75 => some_passes(world).await?,
            75..88 => all_passes(world).await?,
            88..98 => {
                if let Some(button) = world.button() {
                    world.run(vec![button]).await?;
                }
            }
            _ => {
                world.note(|| "a device joins".to_owned());
                world.add_devices(1).await?;
                world.look().await?;
            }
        }
        plant::step(world).await?;
    }
    Ok(())
}

/// Mostly seconds and minutes, at times hours.
fn pause(dice: &mut fastrand::Rng) -> TimeDelta {
    TimeDelta::milliseconds(match dice.u32(..10) {
        0..4 => dice.i64(100..30_000),
        4..8 => dice.i64(30_000..300_000),
        8 => dice.i64(300_000..3_600_000),
        _ => dice.i64(3_600_000..20_000_000),
    })
}

/// One to three things at once: passes of either replica, and people between them.
async fn some_passes(world: &mut World) -> Held {
    let mut running = Vec::new();
    let mut names = Vec::new();
    for replica in 0..2 {
        if replica == 0 || percent(&mut world.dice.steps, 35) {
            let pass = drawn(world);
            // A replica that dies leaves what it did not commit undone.
            if percent(&mut world.dice.crashes, 12) {
                let after = world.dice.crashes.u32(..30);
                if let Some(replica) = world.replicas.get(replica) {
                    replica.process.dies_after(after);
                }
                names.push(format!("{pass:?} by {replica}, which dies after {after}"));
            } else {
                names.push(format!("{pass:?} by {replica}"));
            }
            running.extend(world.pass(pass, replica));
        }
    }
    world.note(|| names.join(" and "));
    if percent(&mut world.dice.steps, 20) {
        running.extend(world.button());
    }
    world.run(running).await
}

fn drawn(world: &mut World) -> Pass {
    let at = world.dice.steps.usize(..Pass::ALL.len());
    Pass::ALL.get(at).copied().unwrap_or(Pass::Rollouts)
}

/// As when every loop looks by itself.
async fn all_passes(world: &mut World) -> Held {
    let mut passes = Pass::ALL;
    world.dice.steps.shuffle(&mut passes);
    world.note(|| "every loop looks".to_owned());
    for pass in passes {
        let running = world.pass(pass, 0);
        world.run(running.into_iter().collect()).await?;
    }
    Ok(())
}

/// Faults stop, and people let go what they can: then everything must end.
async fn calm(world: &mut World) -> Held {
    world.calm = true;
    world.note(|| "calm".to_owned());
    let rounds = ROUNDS + ROUNDS_EACH * u32::try_from(world.fleet.len()).unwrap_or(0);
    for round in 0..rounds {
        all_passes(world).await?;
        if open(world).await?.is_empty() {
            return Ok(());
        }
        if round % 5 == 4 {
            let_go(world, round).await?;
        }
        // Short steps while devices are on their way, long ones while something is waited for, all of
        // them shorter than any window; and at once to the next window where all are closed.
        let quiet = world.ledger.on_the_way().is_empty();
        let closed = if quiet { world.closed_for() } else { None };
        let dice = &mut world.dice.steps;
        let by = match closed {
            Some(closed) => closed + TimeDelta::seconds(dice.i64(0..3_600)),
            None if quiet => TimeDelta::seconds(dice.i64(60..7_000)),
            None => TimeDelta::seconds(dice.i64(20..300)),
        };
        world.advance(by).await?;
    }
    let mut left = open(world).await?;
    if left.is_empty() {
        return Ok(());
    }
    left.extend(waits(world).await?);
    Err(Broken::law(
        Law::EverythingEnds,
        format!("after {rounds} rounds of calm: {}", left.join("; ")),
    ))
}

/// People approve what waits for approval, and resume or end what is paused.
async fn let_go(world: &mut World, round: u32) -> Held {
    for freeze in world.ledger.model.freezes.clone() {
        if let Ok(id) = freeze.parse() {
            let pressed = world.pressed(Button::Unfreeze(id));
            world.run(vec![pressed]).await?;
        }
    }
    if round > PATIENCE {
        for rollout in held_by_failed(world) {
            let button = Button::Command {
                rollout,
                device: None,
                batch: None,
                kind: CommandKind::Cancel,
                who: "operator:ada".to_owned(),
            };
            let pressed = world.pressed(button);
            world.run(vec![pressed]).await?;
        }
    }
    let waiting: Vec<(RolloutId, RolloutStatus, Option<StatusReason>, i64)> = world
        .ledger
        .rollouts
        .values()
        .filter(|r| {
            r.status == RolloutStatus::Paused
                || r.rule.approval_before().is_some()
                || r.strategy == Strategy::Ab
        })
        .map(|r| (r.id, r.status, r.status_reason, r.current_batch))
        .collect();
    for (id, status, reason, batch) in waiting {
        let kinds: &[CommandKind] = match (status, reason) {
            (RolloutStatus::Paused, Some(StatusReason::Quarantined)) => &[CommandKind::Cancel],
            (RolloutStatus::Paused, _) if round > PATIENCE => &[CommandKind::Cancel],
            (RolloutStatus::Paused, _) => &[CommandKind::Resume],
            (
                RolloutStatus::AwaitingApproval
                | RolloutStatus::InProgress
                | RolloutStatus::Scheduled,
                _,
            ) => &[CommandKind::Approve],
            _ => &[],
        };
        for kind in kinds {
            for who in ["operator:ada", "operator:ben"] {
                let batch = (*kind == CommandKind::Approve).then_some(batch + 1);
                let button = Button::Command {
                    rollout: id,
                    device: None,
                    batch,
                    kind: *kind,
                    who: who.to_owned(),
                };
                let pressed = world.pressed(button);
                world.run(vec![pressed]).await?;
                if *kind != CommandKind::Approve {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Rollouts that go on by themselves and never let more than so many devices of a tag be away, while one with that tag
/// failed and was not put back: it is away until a person does something about it, and so they wait for
/// a person.
fn held_by_failed(world: &World) -> Vec<RolloutId> {
    let has_failed = |key: &String| {
        world.ledger.rows.iter().any(|((_, device), row)| {
            let devices = &world.ledger.devices;
            matches!(
                row.status,
                DeviceStatus::Failed | DeviceStatus::RollbackFailed | DeviceStatus::Unreachable
            ) && devices
                .get(device)
                .is_some_and(|traits| traits.tags.contains_key(key))
        })
    };
    world
        .ledger
        .rollouts
        .values()
        .filter(|rollout| goes_on(rollout.status))
        .filter(|rollout| rollout.rule.limits.max_unavailable.keys().any(has_failed))
        .map(|rollout| rollout.id)
        .collect()
}
