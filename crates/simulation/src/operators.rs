//! People at the controls, who press buttons at random.

use crate::dice::{one_of, percent};
use crate::draw;
use crate::images;
use crate::ledger::Ledger;
use crate::turns::Work;
use chrono::TimeDelta;
use serde_json::json;
use std::collections::BTreeMap;
use windlass_core::target::state_id;
use windlass_service::Deps;
use windlass_store::{
    Result, Session, commands, devices, events, freezes, policies, quarantine, targets, triggers,
};
use windlass_types::api::DevicePatch;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::freeze::FreezeKind;
use windlass_types::ids::{
    CommandId, CorrelationId, DeviceId, FreezeId, PolicyId, RolloutId, TriggerId,
};
use windlass_types::image::{Digest, ImageReference};
use windlass_types::policy::{
    ApprovalRule, Filters, Limits, OnUnresolved, PolicySpec, RolloutRule, Strategy,
};
use windlass_types::rollout::{CommandKind, DeviceStatus};
use windlass_types::target::{TargetSource, TargetState};

/// A button, with all that pressing it needs.
#[derive(Debug, Clone)]
pub(crate) enum Button {
    Command {
        rollout: RolloutId,
        device: Option<DeviceId>,
        batch: Option<i64>,
        kind: CommandKind,
        who: String,
    },
    Lift(Digest),
    SetTarget(DeviceId, Box<TargetState>),
    ChangeDevice(DeviceId, DevicePatch),
    MakePolicy(Box<PolicySpec>),
    ChangePolicy(PolicyId, Box<PolicySpec>),
    Trigger(Box<RolloutRule>, Filters, ImageReference),
    Push(usize, u32),
    Freeze(FreezeKind, Option<TimeDelta>),
    Unfreeze(FreezeId),
}

const COMMANDS: [CommandKind; 13] = [
    CommandKind::OverrideFreeze,
    CommandKind::Pause,
    CommandKind::Pause,
    CommandKind::Resume,
    CommandKind::Resume,
    CommandKind::Cancel,
    CommandKind::Approve,
    CommandKind::Approve,
    CommandKind::NextBatch,
    CommandKind::Retry,
    CommandKind::RollbackAll,
    CommandKind::RollbackBatch,
    CommandKind::RollbackDevice,
];

/// A button drawn; none where there is nothing to press it for.
pub(crate) fn drawn(
    dice: &mut fastrand::Rng,
    ledger: &Ledger,
    policies: &BTreeMap<PolicyId, PolicySpec>,
    next_version: &mut [u32],
    now: chrono::DateTime<chrono::Utc>,
) -> Option<Button> {
    let rollouts: Vec<RolloutId> = ledger.rollouts.keys().copied().collect();
    let devices: Vec<DeviceId> = ledger.targets.keys().copied().collect();
    // The latest rollouts are the interesting ones.
    let recent = rollouts
        .get(rollouts.len().saturating_sub(3)..)
        .unwrap_or_default();
    match dice.u32(..100) {
        0..45 => {
            let rollout = one_of(dice, recent)?;
            Some(command(dice, rollout, ledger))
        }
        45..52 => {
            let digests: Vec<&String> = ledger
                .model
                .quarantine
                .iter()
                .map(|(digest, _, _)| digest)
                .collect();
            Some(Button::Lift(one_of(dice, &digests)?.parse().ok()?))
        }
        52..57 => {
            let device = one_of(dice, &devices)?;
            let mut state = ledger
                .states
                .get(&ledger.targets.get(&device)?.state)?
                .clone();
            let version = dice.u32(1..=next_version.first().copied().unwrap_or(1).max(1));
            let image = images::image(0, version);
            windlass_core::target::set_image(&mut state, 1, 1, &image);
            Some(Button::SetTarget(device, Box::new(state)))
        }
        57..65 => Some(Button::ChangeDevice(one_of(dice, &devices)?, patch(dice))),
        65..69 => {
            let name = format!("policy-{:08x}", dice.u32(..));
            Some(Button::MakePolicy(Box::new(draw::policy(dice, &name, now))))
        }
        69..74 => {
            let ids: Vec<PolicyId> = policies.keys().copied().collect();
            let id = one_of(dice, &ids)?;
            let mut spec = draw::policy(dice, &policies.get(&id)?.name, now);
            spec.enabled = percent(dice, 80);
            Some(Button::ChangePolicy(id, Box::new(spec)))
        }
        74..77 => {
            let lasts = TimeDelta::minutes(dice.i64(5..360));
            Some(if dice.bool() {
                Button::Freeze(FreezeKind::Stop, None)
            } else {
                Button::Freeze(FreezeKind::Freeze, Some(lasts))
            })
        }
        77..81 => Some(Button::Unfreeze(
            ledger.model.freezes.first()?.parse().ok()?,
        )),
        81..85 => {
            let version = dice.u32(1..=next_version.first().copied().unwrap_or(1).max(1));
            let spec = draw::policy(dice, "by hand", now);
            let image = images::image(0, version).parse().ok()?;
            Some(Button::Trigger(
                Box::new(spec.rollout_rule()),
                spec.filters,
                image,
            ))
        }
        _ => {
            let repository = usize::from(percent(dice, 25));
            let slot = next_version.get_mut(repository)?;
            if percent(dice, 15) {
                // A tag goes back to what it was.
                return Some(Button::Push(repository, dice.u32(1..=*slot)));
            }
            if *slot >= images::VERSIONS {
                return None;
            }
            *slot += 1;
            Some(Button::Push(repository, *slot))
        }
    }
}

/// The same without gates; none where it is nothing but one.
pub(crate) fn ungated(button: Button) -> Option<Button> {
    match button {
        Button::Freeze(..) => None,
        Button::Command {
            kind: CommandKind::Approve | CommandKind::RollbackBatch,
            ..
        } => None,
        Button::Trigger(rule, filters, image) => {
            let mut rule = *rule;
            if matches!(rule.strategy, Strategy::Manual | Strategy::Scheduled) {
                rule.strategy = Strategy::Staged;
            }
            rule.approval = ApprovalRule::default();
            rule.starts_at = None;
            rule.maintenance_windows = Vec::new();
            rule.limits = Limits::default();
            Some(Button::Trigger(Box::new(rule), filters, image))
        }
        Button::MakePolicy(mut spec) => {
            draw::ungated(&mut spec);
            Some(Button::MakePolicy(spec))
        }
        Button::ChangePolicy(id, mut spec) => {
            draw::ungated(&mut spec);
            Some(Button::ChangePolicy(id, spec))
        }
        other => Some(other),
    }
}

fn command(dice: &mut fastrand::Rng, rollout: RolloutId, ledger: &Ledger) -> Button {
    let kind = one_of(dice, &COMMANDS).unwrap_or(CommandKind::Pause);
    let mine: Vec<DeviceId> = ledger
        .rows
        .keys()
        .filter(|(id, _)| *id == rollout)
        .map(|(_, device)| *device)
        .collect();
    let device = match kind {
        CommandKind::RollbackDevice => one_of(dice, &mine),
        CommandKind::Retry if dice.bool() => {
            let failed: Vec<DeviceId> = ledger
                .rows
                .iter()
                .filter(|((id, _), row)| *id == rollout && row.status == DeviceStatus::Failed)
                .map(|((_, device), _)| *device)
                .collect();
            one_of(dice, &failed)
        }
        _ => None,
    };
    let batches = ledger.rollouts.get(&rollout).map_or(1, |r| r.batch_count);
    let batch = match kind {
        CommandKind::RollbackBatch => Some(dice.i64(1..=batches)),
        CommandKind::Approve if dice.bool() => Some(dice.i64(1..=batches)),
        _ => None,
    };
    let kind = if kind == CommandKind::RollbackDevice && device.is_none() {
        CommandKind::Pause
    } else {
        kind
    };
    Button::Command {
        rollout,
        device,
        batch,
        kind,
        who: person(dice),
    }
}

fn person(dice: &mut fastrand::Rng) -> String {
    format!(
        "operator:{}",
        one_of(dice, &["ada", "ben", "cleo"]).unwrap_or("ada")
    )
}

fn patch(dice: &mut fastrand::Rng) -> DevicePatch {
    let mut patch = DevicePatch::default();
    match dice.u32(..3) {
        0 => patch.enabled = Some(percent(dice, 60)),
        1 => patch.fleet = one_of(dice, &draw::FLEETS).and_then(|fleet| fleet.parse().ok()),
        _ => patch.tags = Some(BTreeMap::from([("region".to_owned(), draw::region(dice))])),
    }
    patch
}

/// Presses it, as the API does: one transaction.
pub(crate) fn press(deps: &Deps, button: Button) -> Work {
    let deps = deps.clone();
    Box::pin(async move {
        let mut tx = deps.store.begin().await?;
        if pressed(&mut tx, button).await? {
            deps.commit(tx).await?;
        }
        Ok(())
    })
}

/// Returns whether there is anything to commit.
async fn pressed(tx: &mut Session, button: Button) -> Result<bool> {
    let who = "operator:ada";
    Ok(match button {
        Button::Command {
            rollout,
            device,
            batch,
            kind,
            who,
        } => {
            let command = commands::NewCommand {
                id: CommandId(tx.new_id()),
                rollout,
                device,
                batch,
                kind,
                actor: who,
                reason: "a button was pressed".to_owned(),
            };
            commands::insert(tx, &command).await?.is_some()
        }
        Button::Lift(digest) => quarantine::lift(tx, &digest, who, "it is good after all").await?,
        Button::SetTarget(device, state) => set_target(tx, device, &state, who).await?,
        Button::ChangeDevice(device, patch) => {
            let Some(before) = devices::get(tx, device).await? else {
                return Ok(false);
            };
            devices::update(tx, device, &patch).await?;
            let Some(after) = devices::get(tx, device).await? else {
                return Ok(false);
            };
            if before == after {
                return Ok(false);
            }
            let changed = NewEvent::new(EventType::DeviceChanged, who).device(device).data(json!({
                "name": after.name, "fleet": after.fleet, "tags": after.tags, "enabled": after.enabled,
            }));
            events::append(tx, changed).await?;
            true
        }
        Button::MakePolicy(spec) => {
            let id = PolicyId(tx.new_id());
            policies::create(tx, id, &spec, who).await?;
            true
        }
        Button::ChangePolicy(id, spec) => {
            policies::update(tx, id, None, &spec, who).await?;
            true
        }
        Button::Trigger(rule, filters, image) => {
            let trigger = triggers::NewTrigger {
                id: TriggerId(tx.new_id()),
                correlation: CorrelationId(tx.new_id()),
                image,
                rule: *rule,
                filters,
                priority: i32::MAX,
                plan: None,
                allow_unsigned: false,
                on_unresolved: OnUnresolved::Wait,
                actor: who.to_owned(),
                reason: "by hand".to_owned(),
            };
            triggers::create(tx, &trigger).await?;
            true
        }
        Button::Freeze(kind, lasts) => {
            let freeze = freezes::NewFreeze {
                id: FreezeId(tx.new_id()),
                kind,
                reason: "a button was pressed".to_owned(),
                starts_at: tx.now(),
                ends_at: lasts.map(|lasts| tx.now() + lasts),
                actor: who.to_owned(),
            };
            freezes::create(tx, &freeze).await?.is_some()
        }
        Button::Unfreeze(id) => matches!(
            freezes::lift(tx, id, who, "it is over").await?,
            freezes::Lifted::Done(_)
        ),
        Button::Push(repository, version) => push(tx, repository, version).await?,
    })
}

async fn set_target(
    tx: &mut Session,
    device: DeviceId,
    state: &TargetState,
    who: &str,
) -> Result<bool> {
    let id = state_id(state);
    let Some((before, _)) = targets::get(tx, device).await? else {
        return Ok(false);
    };
    if before.state == id {
        return Ok(false);
    }
    targets::ensure_states(tx, &BTreeMap::from([(id, state.clone())])).await?;
    let source = TargetSource::Operator;
    let Some(version) = targets::set(tx, device, id, source, None, Some(before.version)).await?
    else {
        return Ok(false);
    };
    let event = NewEvent::new(EventType::TargetSet, who)
        .device(device)
        .version(version)
        .data(json!({"state_id": id, "previous_version": before.version}));
    events::append(tx, event).await?;
    Ok(true)
}

/// A pushed version, as webhook-ingest stores one whose digest the registry names.
async fn push(tx: &mut Session, repository: usize, version: u32) -> Result<bool> {
    let now = tx.now();
    let name = images::REPOSITORIES
        .get(repository)
        .copied()
        .unwrap_or_default();
    let (tag, digest) = (images::tag(version), images::digest(repository, version));
    tx.sql(
        "UPDATE image_versions SET replaced_at = $1 \
         WHERE repository = $2 AND tag = $3 AND replaced_at IS NULL",
    )
    .bind(now)
    .bind(name.to_owned())
    .bind(tag.clone())
    .execute()
    .await?;
    let (id, correlation) = (tx.new_id(), tx.new_id());
    tx.sql(
        "INSERT INTO image_versions (id, repository, tag, digest, kind, seen_at, correlation_id) \
         VALUES ($1, $2, $3, $4, 'new', $5, $6)",
    )
    .bind(id)
    .bind(name.to_owned())
    .bind(tag)
    .bind(digest)
    .bind(now)
    .bind(correlation)
    .execute()
    .await?;
    let event = NewEvent::new(EventType::UpdateAvailable, "webhook-ingest")
        .subject(&images::image(repository, version))
        .correlation(Some(CorrelationId(correlation)));
    events::append(tx, event).await?;
    Ok(true)
}
