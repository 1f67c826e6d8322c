//! What is made of each device of a group.

use crate::targets::Targets;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};
use windlass_core::checks::of_server;
use windlass_core::verdict::{
    Facts, Judgement, Presence, Reason, ServerCheck, Steps, Wanted, again, judge, put_off,
};
use windlass_store::checks::DeviceCheck;
use windlass_store::verdicts::{self, InFlight, PutOff, Shipment, Verdict, Written};
use windlass_store::{Result, Session, checks};
use windlass_types::event::EventType;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::{DeviceStatus, RolloutStatus, SkipReason};

/// How long a device waits whose rollout somebody changes at this moment.
const A_MOMENT: TimeDelta = TimeDelta::seconds(1);

/// A device with what was made of it.
pub(super) struct Judged {
    pub(super) row: Written,
    /// It is to be admitted again; then `row` says only how it was read.
    pub(super) put_off: Option<PutOff>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) shipment: Shipment,
    pub(super) batch: i64,
    pub(super) retries: i64,
    pub(super) target_version: i64,
    pub(super) events: Vec<EventType>,
    /// Checks that begin with this, and until when each must have passed.
    pub(super) begins: Vec<(i64, DateTime<Utc>)>,
}

pub(super) async fn judge_all(tx: &mut Session, rows: Vec<InFlight>) -> Result<Vec<Judged>> {
    let now = tx.now();
    let shipments = verdicts::shipments(tx, &rows.iter().map(|row| row.rollout).collect()).await?;
    let mut targets = Targets::load(tx, &rows).await?;
    let checked = checks_of(tx, &rows, &shipments).await?;
    let mut judged = Vec::with_capacity(rows.len());
    let mut aside = Vec::new();
    for row in rows {
        let Some(shipment) = shipments.get(&row.rollout) else {
            aside.push((row.rollout, row.device));
            continue;
        };
        let wanted = targets.wanted(&row, shipment);
        let none = Vec::new();
        let facts = Facts {
            status: row.status,
            since: row.since,
            admitted_at: row.admitted_at,
            deadline_at: row.deadline_at,
            target_version: row.target_version,
            wanted: &wanted,
            observation: row.observation.as_ref(),
            last_seen_at: row.last_seen_at,
            steps: Steps::read(row.evidence.as_ref()),
            presence: Presence::read(row.evidence.as_ref()),
            server_checks: checked.get(&(row.rollout, row.device)).unwrap_or(&none),
        };
        let rule = shipment.rule.health_of(row.batch);
        let mut one = Judged {
            row: left_out(&row),
            put_off: None,
            shipment: shipment.clone(),
            batch: row.batch,
            retries: row.retries,
            target_version: row.target_version,
            events: vec![EventType::DeviceSkipped],
            begins: Vec::new(),
            wanted: Vec::new(),
        };
        if !wanted.is_empty() {
            let Some(judgement) = judge(&facts, &rule, now) else {
                continue;
            };
            one.events.clone_from(&judgement.events);
            let anew = judgement.checks_anew.clone();
            one.put_off = to_put_off(&row, shipment, &judgement, now);
            one.row = decided(&row, shipment, judgement, now);
            if one.row.status == DeviceStatus::Verifying {
                let first = row.status != DeviceStatus::Verifying;
                one.begins = of_server(&rule)
                    .filter(|(position, _)| first || anew.contains(position))
                    .map(|(position, check)| {
                        let time = TimeDelta::seconds(i64::from(check.timeout_seconds));
                        (position, now + time)
                    })
                    .collect();
            }
        }
        one.wanted = wanted;
        judged.push(one);
    }
    verdicts::set_aside(tx, &aside).await?;
    hold(tx, &mut judged).await?;
    Ok(judged)
}

/// How the checks stand that run against these devices; most rollouts have none, and nothing is read.
async fn checks_of(
    tx: &mut Session,
    rows: &[InFlight],
    shipments: &BTreeMap<RolloutId, Shipment>,
) -> Result<BTreeMap<(RolloutId, DeviceId), Vec<ServerCheck>>> {
    let verified: BTreeSet<(RolloutId, DeviceId)> = rows
        .iter()
        .filter(|row| row.status == DeviceStatus::Verifying)
        .filter(|row| {
            shipments.get(&row.rollout).is_some_and(|shipment| {
                of_server(&shipment.rule.health_of(row.batch))
                    .next()
                    .is_some()
            })
        })
        .map(|row| (row.rollout, row.device))
        .collect();
    if verified.is_empty() {
        return Ok(BTreeMap::new());
    }
    let known = checks::of_devices(tx, &verified).await?;
    let told = |check: DeviceCheck| ServerCheck {
        position: check.position,
        status: check.status,
        tries: check.tries,
        output: check.output,
        checked_at: check.checked_at,
        deadline_at: check.deadline_at,
    };
    Ok(known
        .into_iter()
        .map(|(device, checks)| (device, checks.into_iter().map(told).collect()))
        .collect())
}

/// The device was given another image by somebody else: there is nothing left to judge.
fn left_out(row: &InFlight) -> Written {
    Written {
        rollout: row.rollout,
        device: row.device,
        from: row.status,
        since: row.since,
        status: DeviceStatus::Skipped,
        reason: Some(SkipReason::TargetChanged.to_string()),
        verdict: None,
        evidence: None,
        check_at: None,
        deadline_at: row.deadline_at,
    }
}

fn decided(
    row: &InFlight,
    shipment: &Shipment,
    judgement: Judgement,
    now: DateTime<Utc>,
) -> Written {
    let verdict = match judgement.status {
        DeviceStatus::Completed => Some(Verdict::Healthy),
        DeviceStatus::Failed if judgement.reason.is_some_and(Reason::is_environment) => {
            Some(Verdict::Environment)
        }
        DeviceStatus::Failed => Some(Verdict::Failed),
        _ => None,
    };
    // A failed device that is to be put back waits for rollback-manager from now on.
    let wants_back =
        judgement.status == DeviceStatus::Failed && shipment.rule.failure.auto_rollback;
    Written {
        rollout: row.rollout,
        device: row.device,
        from: row.status,
        since: row.since,
        status: judgement.status,
        reason: judgement.reason.map(|reason| reason.as_str().to_owned()),
        verdict,
        evidence: Some(judgement.evidence),
        check_at: if wants_back {
            Some(now)
        } else {
            judgement.check_at
        },
        deadline_at: judgement.deadline_at,
    }
}

/// Where a device failed for a reason that is not the image's and has retries left, in a rollout that
/// still admits devices.
fn to_put_off(
    row: &InFlight,
    shipment: &Shipment,
    judgement: &Judgement,
    now: DateTime<Utc>,
) -> Option<PutOff> {
    let reason = judgement
        .reason
        .filter(|reason| judgement.status == DeviceStatus::Failed && reason.is_environment())?;
    if shipment.status.is_final() || shipment.status == RolloutStatus::RollingBack {
        return None;
    }
    let retry_at = again(&shipment.rule.failure.retry, row.retries, now)?;
    Some(PutOff {
        rollout: row.rollout,
        device: row.device,
        from: row.status,
        since: row.since,
        reason: reason.as_str().to_owned(),
        evidence: put_off(judgement.evidence.clone(), row.retries + 1, retry_at),
        retry_at,
    })
}

/// Holds the rollouts of devices that are put off. Where somebody changes one at this moment, its
/// devices are looked at again in a moment.
async fn hold(tx: &mut Session, judged: &mut [Judged]) -> Result<()> {
    let rollouts: BTreeSet<RolloutId> = judged
        .iter()
        .filter_map(|one| one.put_off.as_ref())
        .map(|put_off| put_off.rollout)
        .collect();
    if rollouts.is_empty() {
        return Ok(());
    }
    let held = verdicts::hold_active(tx, &rollouts).await?;
    let soon = tx.now() + A_MOMENT;
    for one in judged
        .iter_mut()
        .filter(|one| one.put_off.is_some() && !held.contains(&one.row.rollout))
    {
        one.put_off = None;
        one.events.clear();
        one.row = Written {
            // An unreachable device that is back has no time to be looked at of its own.
            status: one.row.from,
            reason: None,
            verdict: None,
            evidence: None,
            check_at: Some(soon),
            ..one.row.clone()
        };
    }
    Ok(())
}
