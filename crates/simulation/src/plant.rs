//! Faults planted on purpose: a step that stands in for a real one and does it wrong. That they are
//! found shows that the laws can fail.

use crate::broken::Held;
use crate::dice::{one_of, percent};
use crate::images;
use crate::operators::Button;
use crate::turns::{Running, Work};
use crate::world::World;
use chrono::TimeDelta;
use serde_json::json;
use std::collections::BTreeMap;
use windlass_core::rollback::Move;
use windlass_core::target::{set_image, state_id, with_version};
use windlass_store::rollbacks::{self, Presence, PutBack, Scope};
use windlass_store::{Result, Session, Store, commands, events, rollouts, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::policy::Limits;
use windlass_types::rollout::{CommandKind, DeviceStatus, Rollout, RolloutStatus};
use windlass_types::target::TargetSource;

/// A planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Admits by what was read before a pause.
    IgnoresPause,
    /// Puts devices back on the tag that the repository had before, whatever each of them proved.
    TagOfBefore,
    /// Counts devices in flight in memory, which a crash forgets.
    CountsInMemory,
}

/// Does what is planted, where something is.
pub(crate) async fn step(world: &mut World) -> Held {
    match world.plant {
        None => Ok(()),
        Some(Plant::IgnoresPause) => ignores_pause(world).await,
        Some(Plant::TagOfBefore) => tag_of_before(world).await,
        Some(Plant::CountsInMemory) => counts_in_memory(world).await,
    }
}

/// A rollout under way that nothing but its status holds, and a device whose turn it is.
fn open(world: &mut World, limits: impl Fn(&Limits) -> bool) -> Option<(Rollout, DeviceId)> {
    let free = |rollout: &&Rollout| {
        rollout.status == RolloutStatus::InProgress
            && rollout.rule.maintenance_windows.is_empty()
            && rollout.rule.starts_at.is_none()
            && rollout.rule.approval_before().is_none()
            && limits(&rollout.rule.limits)
    };
    if !world.ledger.model.freezes.is_empty() {
        return None;
    }
    let rollout = world.ledger.rollouts.values().rev().find(free)?.clone();
    let devices: Vec<DeviceId> = world
        .ledger
        .rows
        .iter()
        .filter(|((id, device), row)| {
            *id == rollout.id
                && row.status == DeviceStatus::Pending
                && world.ledger.may_take(*device, &rollout)
        })
        .map(|((_, device), _)| *device)
        .collect();
    let device = one_of(&mut world.dice.steps, &devices)?;
    Some((rollout, device))
}

async fn ignores_pause(world: &mut World) -> Held {
    let Some((rollout, device)) = open(world, Limits::is_empty) else {
        return Ok(());
    };
    world.note(|| "a planted admission, and a pause at the same time".to_owned());
    let pause = world.pressed(Button::Command {
        rollout: rollout.id,
        device: None,
        batch: None,
        kind: CommandKind::Pause,
        who: "operator:ada".to_owned(),
    });
    let Some(admission) = world.stand_in(|store| admission(store, rollout.id, device)) else {
        return Ok(());
    };
    world.run(vec![pause, admission]).await
}

async fn counts_in_memory(world: &mut World) -> Held {
    let only = |limits: &Limits| {
        limits.max_in_flight.is_some()
            && limits.max_in_flight_percent.is_none()
            && limits.per_minute.is_none()
            && limits.max_unavailable.is_empty()
    };
    let Some((rollout, device)) = open(world, only) else {
        return Ok(());
    };
    let flying = world.ledger.in_flight(rollout.id);
    if percent(&mut world.dice.crashes, 20) {
        world.note(|| "the planted counter is forgotten in a crash".to_owned());
        world.counted.insert(rollout.id, 0);
    }
    let counted = *world.counted.entry(rollout.id).or_insert(flying);
    if counted >= rollout.rule.limits.max_in_flight.map_or(0, i64::from) {
        return Ok(());
    }
    world.counted.insert(rollout.id, counted + 1);
    world.note(|| "a planted admission by a counter".to_owned());
    let Some(admission) = world.stand_in(|store| admission(store, rollout.id, device)) else {
        return Ok(());
    };
    world.run(vec![admission]).await
}

/// Reads and decides in one session, writes in another, and does not look again.
fn admission(store: Store, id: RolloutId, device: DeviceId) -> Work {
    Box::pin(async move {
        let mut read = store.read().await?;
        let rollout = rollouts::get(&mut read, id).await?;
        let ordered = !commands::pending(&mut read, id).await?.is_empty();
        drop(read);
        let under_way = |r: &Rollout| r.status == RolloutStatus::InProgress && !ordered;
        let Some(rollout) = rollout.filter(under_way) else {
            return Ok(());
        };
        let mut tx = store.begin().await?;
        if admit_one(&mut tx, &rollout, device).await? {
            tx.commit().await?;
        }
        Ok(())
    })
}

async fn admit_one(tx: &mut Session, rollout: &Rollout, device: DeviceId) -> Result<bool> {
    let Some((before, state)) = targets::get(tx, device).await? else {
        return Ok(false);
    };
    let (tag, digest) = (rollout.tag.as_deref(), rollout.digest.as_ref());
    let next = with_version(&state, &rollout.repository, &rollout.tag_rule, tag, digest);
    let Some(next) = next.filter(|next| *next != state) else {
        return Ok(false);
    };
    let (now, to) = (tx.now(), state_id(&next));
    targets::ensure_states(tx, &BTreeMap::from([(to, next)])).await?;
    let source = TargetSource::Rollout;
    let Some(version) = targets::set(
        tx,
        device,
        to,
        source,
        Some(rollout.id),
        Some(before.version),
    )
    .await?
    else {
        return Ok(false);
    };
    let moved: Vec<(i64,)> = tx
        .sql(
            "UPDATE device_rollout_status SET status = 'scheduled', reason = NULL, old_state_id = $1, \
             target_version = $2, admitted_at = $3, check_at = $4, deadline_at = $5, updated_at = $6 \
             WHERE rollout_id = $7 AND device_uuid = $8 AND status = 'pending' RETURNING batch",
        )
        .bind(before.state.0)
        .bind(version)
        .bind(now)
        .bind(now + TimeDelta::seconds(100))
        .bind(now + TimeDelta::seconds(300))
        .bind(now)
        .bind(rollout.id.0)
        .bind(device.0)
        .all()
        .await?;
    let Some((batch,)) = moved.first() else {
        return Ok(false);
    };
    let event = NewEvent::new(EventType::ImageUpdateScheduled, "a plant")
        .rollout(rollout.id, rollout.correlation_id)
        .device(device)
        .version(version)
        .data(json!({"batch": batch}));
    events::append(tx, event).await?;
    Ok(true)
}

async fn tag_of_before(world: &mut World) -> Held {
    let failed = world
        .ledger
        .rows
        .iter()
        .rev()
        .find(|(_, row)| row.status == DeviceStatus::Failed);
    let Some(((id, device), _)) = failed else {
        return Ok(());
    };
    let (id, device) = (*id, *device);
    let Some(rollout) = world.ledger.rollouts.get(&id).cloned() else {
        return Ok(());
    };
    // What the repository had before: the version below the one that was shipped.
    let shipped = rollout.digest.as_ref().map(ToString::to_string);
    let found = (0..images::REPOSITORIES.len())
        .flat_map(|repository| (2..=images::VERSIONS).map(move |version| (repository, version)))
        .find(|(repository, version)| Some(images::digest(*repository, *version)) == shipped);
    let Some((repository, version)) = found else {
        return Ok(());
    };
    let to = images::image(repository, version - 1);
    if world.ledger.is_bad(&to, device) {
        return Ok(());
    }
    world.note(|| format!("a planted rollback of {device} to {to}"));
    let Some(work) = world.stand_in(|store| rollback(store, rollout, device, to)) else {
        return Ok(());
    };
    world.run(vec![work]).await
}

fn rollback(store: Store, rollout: Rollout, device: DeviceId, to: String) -> Work {
    Box::pin(async move {
        let mut tx = store.begin().await?;
        rollouts::lock(&mut tx, rollout.id).await?;
        let rows =
            rollbacks::candidates(&mut tx, rollout.id, Scope::Failed, Presence::Any, 100).await?;
        let Some(row) = rows.rows.into_iter().find(|row| row.device == device) else {
            return Ok(());
        };
        let Some((target, mut state)) = targets::get(&mut tx, device).await? else {
            return Ok(());
        };
        if target.source == TargetSource::Operator {
            return Ok(());
        }
        let mine: Vec<(i64, i64, String)> = state
            .services()
            .filter(|(_, s)| s.image_name.starts_with(&rollout.repository.to_string()))
            .map(|(app, s)| (app, s.service_id, s.image_name.clone()))
            .collect();
        let mut moves = Vec::new();
        for (app_id, service_id, from) in mine {
            set_image(&mut state, app_id, service_id, &to);
            let one = json!({"app_id": app_id, "service_id": service_id, "from": from, "to": to});
            moves.extend(serde_json::from_value::<Move>(one).ok());
        }
        let next = state_id(&state);
        targets::ensure_states(&mut tx, &BTreeMap::from([(next, state)])).await?;
        let back = PutBack {
            device,
            version: row.version,
            state: next,
            image: to,
            evidence: json!({"rollback": {"services": moves, "reason": row.reason}}),
            check_at: tx.now() + TimeDelta::seconds(60),
            deadline_at: tx.now() + TimeDelta::seconds(600),
        };
        let done = rollbacks::put_back(&mut tx, rollout.id, &[back]).await?;
        let Some(version) = done.get(&device) else {
            return Ok(());
        };
        let event = NewEvent::new(EventType::RollbackScheduled, "a plant")
            .rollout(rollout.id, rollout.correlation_id)
            .device(device)
            .version(*version)
            .data(json!({"services": moves}));
        events::append(&mut tx, event).await?;
        tx.commit().await?;
        Ok(())
    })
}

impl World {
    /// A step of the second replica's that is not its own.
    fn stand_in(&self, work: impl FnOnce(Store) -> Work) -> Option<Running> {
        let replica = self.replicas.get(1)?;
        Some(Running::new(&replica.process, work(replica.store())))
    }
}
