//! One pass: claim a group of devices, judge them, write what came out, all in one transaction.

use crate::NAME;
use crate::targets::Targets;
use prometheus::{IntCounterVec, Opts, Registry};
use serde_json::json;
use std::collections::BTreeMap;
use windlass_core::verdict::{Facts, Judgement, Presence, Steps, Wanted, judge};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::verdicts::{self, InFlight, LastGood, Shipment, Verdict, Written};
use windlass_store::{Result, Session, events, rollouts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::{DeviceStatus, SkipReason};

/// The statuses of devices that a pass can be about.
const IN_FLIGHT: &[DeviceStatus] = &[
    DeviceStatus::Scheduled,
    DeviceStatus::Updating,
    DeviceStatus::Verifying,
];
const OPEN: &[DeviceStatus] = &[
    DeviceStatus::Scheduled,
    DeviceStatus::Updating,
    DeviceStatus::Verifying,
    DeviceStatus::Unreachable,
];

/// Counts devices that were judged.
#[derive(Debug, Clone)]
pub struct Counter(IntCounterVec);

impl Counter {
    /// Registers it, where it is not registered yet.
    ///
    /// # Errors
    /// Where its name is not valid: a fault of the program.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = IntCounterVec::new(
            Opts::new(
                "windlass_device_verdicts_total",
                "Devices judged, by what came out.",
            ),
            &["status"],
        )?;
        if let Err(error) = registry.register(Box::new(counter.clone())) {
            tracing::debug!(%error, "the verdicts are counted twice");
        }
        Ok(Self(counter))
    }
}

/// Judges the devices whose state changed since the last pass.
///
/// # Errors
/// Whatever the store says; then nothing was judged, and the place in the log is where it was.
pub async fn reports(deps: &Deps, counter: &Counter, group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let peek = verdicts::changed(&mut read, NAME, 1).await?;
    drop(read);
    if peek.from == peek.to {
        return Ok(Next::Idle);
    }
    let mut tx = deps.store.begin().await?;
    let changed = verdicts::changed(&mut tx, NAME, group).await?;
    if changed.from == changed.to {
        return Ok(Next::Idle);
    }
    // First, so that a second replica waits here and then finds that it came too late.
    if !events::advance(&mut tx, NAME, changed.from, changed.to).await? {
        tx.rollback().await?;
        return Ok(Next::Again);
    }
    let rows = verdicts::of_devices(&mut tx, &changed.devices, OPEN).await?;
    finish(deps, counter, tx, rows).await?;
    Ok(if changed.more {
        Next::Again
    } else {
        Next::Idle
    })
}

/// Judges the devices whose time has come.
///
/// # Errors
/// Whatever the store says; then nothing was judged.
pub async fn due(deps: &Deps, counter: &Counter, group: i64) -> Result<Next> {
    let mut tx = deps.store.begin().await?;
    let rows = verdicts::due(&mut tx, IN_FLIGHT, group).await?;
    finish_group(deps, counter, tx, rows, group).await
}

/// Goes on with unreachable devices that were seen again.
///
/// # Errors
/// Whatever the store says; then nothing was judged.
pub async fn returned(deps: &Deps, counter: &Counter, group: i64) -> Result<Next> {
    let mut tx = deps.store.begin().await?;
    let rows = verdicts::returned(&mut tx, group).await?;
    finish_group(deps, counter, tx, rows, group).await
}

async fn finish_group(
    deps: &Deps,
    counter: &Counter,
    tx: Session,
    rows: Vec<InFlight>,
    group: i64,
) -> Result<Next> {
    let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= group;
    let moved = finish(deps, counter, tx, rows).await?;
    Ok(if full && moved {
        Next::Again
    } else {
        Next::Idle
    })
}

/// Judges the rows and commits. Returns whether anything was written.
async fn finish(
    deps: &Deps,
    counter: &Counter,
    mut tx: Session,
    rows: Vec<InFlight>,
) -> Result<bool> {
    let judged = judge_all(&mut tx, rows).await?;
    let written = write(&mut tx, &judged).await?;
    deps.commit(tx).await?;
    for one in written {
        counter
            .0
            .with_label_values(&[one.row.status.as_str()])
            .inc();
    }
    Ok(!judged.is_empty())
}

/// A device with what was made of it.
struct Judged {
    row: Written,
    wanted: Vec<Wanted>,
    shipment: Shipment,
    target_version: i64,
    events: Vec<EventType>,
}

async fn judge_all(tx: &mut Session, rows: Vec<InFlight>) -> Result<Vec<Judged>> {
    let now = tx.now();
    let shipments = verdicts::shipments(tx, &rows.iter().map(|row| row.rollout).collect()).await?;
    let mut targets = Targets::load(tx, &rows).await?;
    let mut judged = Vec::with_capacity(rows.len());
    let mut aside = Vec::new();
    for row in rows {
        let Some(shipment) = shipments.get(&row.rollout) else {
            aside.push((row.rollout, row.device));
            continue;
        };
        let wanted = targets.wanted(&row, shipment);
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
        };
        let (written, events) = if wanted.is_empty() {
            (left_out(&row), Vec::new())
        } else if let Some(judgement) = judge(&facts, &shipment.rule.health, now) {
            let events = judgement.events.clone();
            (decided(&row, shipment, judgement, now), events)
        } else {
            continue;
        };
        judged.push(Judged {
            target_version: row.target_version,
            row: written,
            shipment: shipment.clone(),
            wanted,
            events,
        });
    }
    verdicts::set_aside(tx, &aside).await?;
    Ok(judged)
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
    now: chrono::DateTime<chrono::Utc>,
) -> Written {
    let verdict = match judgement.status {
        DeviceStatus::Completed => Some(Verdict::Healthy),
        DeviceStatus::Failed => Some(Verdict::Failed),
        _ => None,
    };
    // A failed device that is to be put back waits for rollback-manager from now on.
    let wants_back = verdict == Some(Verdict::Failed) && shipment.rule.failure.auto_rollback;
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

/// Writes what came out, what follows for the devices, and the events; returns the judged ones.
async fn write<'a>(tx: &mut Session, judged: &'a [Judged]) -> Result<Vec<&'a Judged>> {
    let rows: Vec<Written> = judged.iter().map(|one| one.row.clone()).collect();
    let done = verdicts::write(tx, &rows).await?;
    let written: Vec<&Judged> = judged
        .iter()
        .filter(|one| done.contains(&(one.row.rollout, one.row.device)))
        .collect();
    let mut good = Vec::new();
    let mut failed: BTreeMap<RolloutId, (&Shipment, Vec<DeviceId>)> = BTreeMap::new();
    let mut told = Vec::new();
    for one in &written {
        match one.row.verdict {
            Some(Verdict::Healthy) => {
                good.extend(one.wanted.iter().filter(|w| w.runs).map(|w| LastGood {
                    device: one.row.device,
                    app_id: w.app_id,
                    service_id: w.service_id,
                    image: w.image.clone(),
                    rollout: Some(one.row.rollout),
                }));
            }
            Some(Verdict::Failed) => failed
                .entry(one.row.rollout)
                .or_insert_with(|| (&one.shipment, Vec::new()))
                .1
                .push(one.row.device),
            None => {}
        }
        told.extend(one.events.iter().map(|kind| event(one, *kind)));
    }
    // One device may be in several rollouts; one statement takes a row only once.
    good.sort();
    good.dedup_by(|a, b| (a.device, a.app_id, a.service_id) == (b.device, b.app_id, b.service_id));
    verdicts::last_good(tx, &good).await?;
    for (rollout, (shipment, devices)) in failed {
        // A bare tag that was shipped may have turned out to name a digest since.
        let digest = match &shipment.digest {
            Some(digest) => Some(digest.clone()),
            None => rollouts::shipped_digest(tx, rollout).await?,
        };
        if let Some(digest) = digest {
            verdicts::failed_images(tx, rollout, &digest, &devices).await?;
        }
    }
    events::append_all(tx, told).await?;
    Ok(written)
}

fn event(one: &Judged, kind: EventType) -> NewEvent {
    let mut data = json!({
        "image": one.shipment.image(),
        "target_version": one.target_version,
        "status": one.row.status,
    });
    if let Some(data) = data.as_object_mut() {
        if let Some(reason) = &one.row.reason {
            data.insert("reason".to_owned(), json!(reason));
        }
        if matches!(
            kind,
            EventType::UpdateFailed | EventType::UpdateCompleted | EventType::DeviceUnreachable
        ) {
            data.insert("evidence".to_owned(), json!(one.row.evidence));
        }
    }
    NewEvent::new(kind, NAME)
        .rollout(one.row.rollout, one.shipment.correlation_id)
        .device(one.row.device)
        .subject(&one.shipment.image())
        .data(data)
}
