//! One group of one rollout's devices, inside the caller's transaction.

use crate::NAME;
use crate::back::image_of;
use crate::outcome::{Ends, NO_GOOD_IMAGE, UNREADABLE};
use chrono::TimeDelta;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use windlass_core::rollback::{Move, Past, Plan, plan};
use windlass_core::target::state_id;
use windlass_core::verdict::{Shipped, Wanted, wanted_of};
use windlass_store::rollbacks::{self, Candidates, PutBack};
use windlass_store::verdicts::InFlight;
use windlass_store::{Result, Session, events, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, StateId};
use windlass_types::image::Digest;
use windlass_types::rollout::{DeviceStatus, Rollout, SkipReason};
use windlass_types::target::TargetState;

/// Why devices are put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The device failed.
    Failed,
    /// The digest went into quarantine before the device ran it.
    Quarantined,
    /// A part of the rollout is taken back: by an operator's order, or beyond a budget.
    Ordered,
    /// The whole rollout is taken back.
    RolloutTakenBack,
    /// An operator wants this device back.
    Operator,
}

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Quarantined => "quarantined",
            Self::Ordered => "ordered",
            Self::RolloutTakenBack => "rollout_taken_back",
            Self::Operator => "operator",
        }
    }
}

/// What became of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Devices on their way back.
    pub(crate) put_back: usize,
    /// Devices whose target somebody else changed; they are left alone.
    pub(crate) changed: usize,
    /// Devices with nothing to go back to.
    pub(crate) stuck: usize,
    /// Devices of which cannot be read what is stored.
    pub(crate) unreadable: usize,
    /// Rows that need no further look; the others were overtaken and are looked at again.
    pub(crate) settled: usize,
}

/// A device with its way back.
struct Back {
    row: InFlight,
    state: StateId,
    moves: Vec<Move>,
    stuck: usize,
}

/// Puts these devices back, whose rows and rollout the caller has locked.
pub(crate) async fn put_back_group(
    tx: &mut Session,
    rollout: &Rollout,
    found: Candidates,
    why: Why,
    ends: &mut Ends,
) -> Result<Done> {
    let Candidates {
        rows,
        mut unreadable,
    } = found;
    let ids: BTreeSet<StateId> = rows
        .iter()
        .flat_map(|row| [Some(row.state), row.old_state])
        .flatten()
        .collect();
    let states = targets::states(tx, &ids.into_iter().collect::<Vec<_>>()).await?;
    let devices: Vec<DeviceId> = rows.iter().map(|row| row.device).collect();
    let good = rollbacks::good_images(tx, &devices).await?;
    let tag_was = rollbacks::tag_before(tx, rollout).await?;
    let unproved = rollbacks::unproved_images(tx, rollout, &devices).await?;
    let nothing = BTreeSet::new();
    let mut leaving: BTreeMap<(StateId, Option<StateId>), Vec<Wanted>> = BTreeMap::new();
    let mut plans: BTreeMap<(StateId, Option<StateId>, String), (StateId, Plan)> = BTreeMap::new();
    let mut new_states: BTreeMap<StateId, TargetState> = BTreeMap::new();
    let (mut back, mut changed, mut stuck) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let before = row.old_state.and_then(|id| states.get(&id));
        let Some(present) = states.get(&row.state) else {
            unreadable.push(row.device);
            continue;
        };
        let leave = leaving
            .entry((row.state, row.old_state))
            .or_insert_with(|| wanted_of(present, before, shipped(rollout)));
        if leave.is_empty() || by_hand(&row) {
            changed.push(row);
            continue;
        }
        let mut past = Past {
            last_good: good.last_good.get(&row.device).cloned().unwrap_or_default(),
            before,
            tag_was: tag_was.clone(),
            ..Past::default()
        };
        if let Some(observation) = &row.observation {
            let unproved = unproved.get(&row.device).unwrap_or(&nothing);
            past.observe(leave, observation, unproved);
        }
        let banned = banned(rollout, &good, row.device);
        // Devices alike in all that counts have the same way back.
        let key = (
            row.state,
            row.old_state,
            format!(
                "{:?} {:?} {:?} {banned:?}",
                past.last_good, past.chosen, past.running
            ),
        );
        let (state, way) = plans.entry(key).or_insert_with(|| {
            let way = plan(present, leave, &past, &banned);
            (state_id(&way.next), way)
        });
        if way.moves.is_empty() {
            stuck.push(row);
            continue;
        }
        new_states.entry(*state).or_insert_with(|| way.next.clone());
        back.push(Back {
            row,
            state: *state,
            moves: way.moves.clone(),
            stuck: way.stuck,
        });
    }
    targets::ensure_states(tx, &new_states).await?;
    let put = move_back(tx, rollout, &back, why).await?;
    leave_alone(tx, rollout, &changed).await?;
    let stuck: Vec<DeviceId> = stuck.iter().map(|row| row.device).collect();
    give_up(tx, rollout, &stuck, why, NO_GOOD_IMAGE, ends).await?;
    give_up(tx, rollout, &unreadable, why, UNREADABLE, ends).await?;
    Ok(Done {
        put_back: put,
        changed: changed.len(),
        stuck: stuck.len(),
        unreadable: unreadable.len(),
        settled: put + changed.len() + stuck.len() + unreadable.len(),
    })
}

fn shipped(rollout: &Rollout) -> Shipped<'_> {
    Shipped {
        repository: &rollout.repository,
        tag_rule: &rollout.tag_rule,
        tag: rollout.tag.as_deref(),
        digest: rollout.digest.as_ref(),
    }
}

/// A person has set this target since, and chose the image, whatever rollouts of other images
/// changed after that.
fn by_hand(row: &InFlight) -> bool {
    row.hand_version > Some(row.target_version)
}

/// The digests that the device must not go back to.
fn banned(rollout: &Rollout, good: &rollbacks::Good, device: DeviceId) -> BTreeSet<Digest> {
    good.quarantined
        .iter()
        .chain(good.failed.get(&device).into_iter().flatten())
        .chain(good.held.get(&device).into_iter().flatten())
        .chain(&rollout.digest)
        .cloned()
        .collect()
}

async fn move_back(tx: &mut Session, rollout: &Rollout, back: &[Back], why: Why) -> Result<usize> {
    let now = tx.now();
    let rule = &rollout.rule;
    let timeout = TimeDelta::seconds(i64::from(rule.failure.rollback_timeout_seconds));
    let silence = TimeDelta::seconds(i64::from(rule.health.unreachable_after_seconds));
    // Who is silent has all of the time from when it is back.
    let deadline = |one: &Back| match one.row.status {
        DeviceStatus::Unreachable => now + silence + timeout,
        _ => now + timeout,
    };
    let rows: Vec<PutBack> = back
        .iter()
        .map(|one| PutBack {
            device: one.row.device,
            version: one.row.version,
            state: one.state,
            image: images(&one.moves),
            evidence: with_way_back(one, why),
            check_at: deadline(one).min(now + silence),
            deadline_at: deadline(one),
        })
        .collect();
    let done = rollbacks::put_back(tx, rollout.id, &rows).await?;
    let told = back
        .iter()
        .filter_map(|one| Some((one, *done.get(&one.row.device)?)))
        .map(|(one, version)| {
            NewEvent::new(EventType::RollbackScheduled, NAME)
                .rollout(rollout.id, rollout.correlation_id)
                .device(one.row.device)
                .version(version)
                .subject(&images(&one.moves))
                .data(json!({
                    "why": why.as_str(),
                    "status": DeviceStatus::RollingBack,
                    "was": one.row.status,
                    "services": one.moves,
                }))
        })
        .collect();
    events::append_all(tx, told).await?;
    Ok(done.len())
}

fn images(moves: &[Move]) -> String {
    let images: BTreeSet<&str> = moves.iter().map(|m| m.to.as_str()).collect();
    images.into_iter().collect::<Vec<_>>().join(" ")
}

/// The evidence so far, with the way back written into it: what is verified later.
fn with_way_back(one: &Back, why: Why) -> Value {
    let mut evidence = match &one.row.evidence {
        Some(Value::Object(evidence)) => evidence.clone(),
        Some(_) | None => serde_json::Map::new(),
    };
    evidence.insert(
        "rollback".to_owned(),
        json!({
            "why": why.as_str(),
            "from_status": one.row.status,
            "reason": one.row.reason,
            "services": one.moves,
            "services_without_a_good_image": one.stuck,
        }),
    );
    Value::Object(evidence)
}

/// A judged device keeps its verdict; one that was not judged is out of the rollout.
async fn leave_alone(tx: &mut Session, rollout: &Rollout, rows: &[InFlight]) -> Result<()> {
    let reason = SkipReason::TargetChanged.as_str();
    let judged = |row: &&InFlight| {
        matches!(
            row.status,
            DeviceStatus::Completed | DeviceStatus::Failed | DeviceStatus::RollbackFailed
        )
    };
    let kept = rows.iter().filter(judged).map(|row| row.device).collect();
    let skipped = rows
        .iter()
        .filter(|row| !judged(row))
        .map(|row| row.device)
        .collect();
    rollbacks::mark(tx, rollout.id, &kept, None, reason).await?;
    let out = Some(DeviceStatus::Skipped);
    rollbacks::mark(tx, rollout.id, &skipped, out, reason).await?;
    let told = rows
        .iter()
        .map(|row| {
            let status = if judged(&row) {
                row.status
            } else {
                DeviceStatus::Skipped
            };
            NewEvent::new(EventType::DeviceSkipped, NAME)
                .rollout(rollout.id, rollout.correlation_id)
                .device(row.device)
                .subject(&image_of(rollout))
                .data(json!({"status": status, "reason": reason}))
        })
        .collect();
    events::append_all(tx, told).await?;
    Ok(())
}

/// Tells of devices that cannot be put back.
async fn give_up(
    tx: &mut Session,
    rollout: &Rollout,
    devices: &[DeviceId],
    why: Why,
    reason: &'static str,
    ends: &mut Ends,
) -> Result<()> {
    let failed = Some(DeviceStatus::RollbackFailed);
    let all = devices.iter().copied().collect();
    rollbacks::mark(tx, rollout.id, &all, failed, reason).await?;
    let told = devices
        .iter()
        .map(|device| {
            ends.failed(rollout.id, *device, reason);
            NewEvent::new(EventType::DeviceRollbackFailed, NAME)
                .rollout(rollout.id, rollout.correlation_id)
                .device(*device)
                .subject(&image_of(rollout))
                .data(json!({
                    "why": why.as_str(),
                    "status": DeviceStatus::RollbackFailed,
                    "reason": reason,
                }))
        })
        .collect();
    events::append_all(tx, told).await?;
    Ok(())
}
