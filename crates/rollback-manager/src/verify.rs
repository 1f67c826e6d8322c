//! Whether devices on their way back got there, by their reports.

use crate::NAME;
use crate::outcome::{Ends, NO_GOOD_IMAGE, TIMED_OUT, UNREADABLE};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use windlass_core::rollback::{Facts, Move, Outcome, judge};
use windlass_core::verdict::Wanted;
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::verdicts::{self, InFlight, LastGood, Shipment, Written};
use windlass_store::{Result, Session, events, rollbacks, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::StateId;
use windlass_types::rollout::{DeviceStatus, SkipReason};
use windlass_types::target::TargetState;

const ON_THE_WAY: &[DeviceStatus] = &[DeviceStatus::RollingBack];
/// Why a device is still on its way: it is silent.
const SILENT: &str = "unreachable";

/// Looks at the devices whose state changed since the last pass.
///
/// # Errors
/// Whatever the store says; then the place in the log is where it was.
pub async fn reports(deps: &Deps, group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let peek = verdicts::changed(&mut read, NAME, 1).await?;
    drop(read);
    if peek.from == peek.to {
        return Ok(Next::Idle);
    }
    let mut tx = deps.store.begin().await?;
    let changed = verdicts::changed(&mut tx, NAME, group).await?;
    // First, so that a second replica waits here and then finds that it came too late.
    if !events::advance(&mut tx, NAME, changed.from, changed.to).await? {
        tx.rollback().await?;
        return Ok(Next::Again);
    }
    let rows = verdicts::of_devices(&mut tx, &changed.devices, ON_THE_WAY).await?;
    let ends = look(&mut tx, rows).await?;
    deps.commit(tx).await?;
    ends.tell();
    Ok(if changed.more {
        Next::Again
    } else {
        Next::Idle
    })
}

/// Looks at the devices whose time has come.
///
/// # Errors
/// Whatever the store says.
pub async fn due(deps: &Deps, group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    if !verdicts::any_due(&mut read, ON_THE_WAY).await? {
        return Ok(Next::Idle);
    }
    drop(read);
    let mut tx = deps.store.begin().await?;
    let rows = verdicts::due(&mut tx, ON_THE_WAY, group).await?;
    let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= group;
    let ends = look(&mut tx, rows).await?;
    let_deleted_go(&mut tx).await?;
    deps.commit(tx).await?;
    ends.tell();
    Ok(if full { Next::Again } else { Next::Idle })
}

/// Devices that were deleted on their way back have nobody who could say that they are back.
async fn let_deleted_go(tx: &mut Session) -> Result<()> {
    let left = rollbacks::let_deleted_go(tx).await?;
    if left.is_empty() {
        return Ok(());
    }
    let rollouts = left.iter().map(|one| one.rollout).collect();
    let shipments = verdicts::shipments(tx, &rollouts).await?;
    let told = left
        .iter()
        .filter_map(|one| Some((one, shipments.get(&one.rollout)?)))
        .map(|(one, shipment)| {
            NewEvent::new(EventType::DeviceSkipped, NAME)
                .rollout(one.rollout, shipment.correlation_id)
                .device(one.device)
                .subject(&shipment.image())
                .data(json!({
                    "status": DeviceStatus::Skipped,
                    "reason": SkipReason::Deleted,
                }))
        })
        .collect();
    events::append_all(tx, told).await?;
    Ok(())
}

/// What is to be written of one device.
struct Looked {
    row: Written,
    event: Option<NewEvent>,
    good: Vec<LastGood>,
    /// Why its way back failed, where it did.
    failed: Option<&'static str>,
}

async fn look(tx: &mut Session, rows: Vec<InFlight>) -> Result<Ends> {
    let now = tx.now();
    let shipments = verdicts::shipments(tx, &rows.iter().map(|row| row.rollout).collect()).await?;
    let ids: BTreeSet<StateId> = rows.iter().map(|row| row.state).collect();
    let states = targets::states(tx, &ids.into_iter().collect::<Vec<_>>()).await?;
    let mut looked = Vec::with_capacity(rows.len());
    let mut aside = Vec::new();
    for row in &rows {
        let Some(shipment) = shipments.get(&row.rollout) else {
            aside.push((row.rollout, row.device));
            continue;
        };
        let moves = way_back(row.evidence.as_ref());
        let Some(state) = states.get(&row.state) else {
            looked.push(given_up(row, shipment, &moves, UNREADABLE));
            continue;
        };
        let wanted = still_wanted(state, &moves);
        if wanted.is_empty() {
            looked.push(left_alone(row, shipment));
            continue;
        }
        let facts = Facts {
            since: row.since,
            deadline_at: row.deadline_at,
            version: row.rollback_version.unwrap_or(row.version),
            wanted: &wanted,
            observation: row.observation.as_ref(),
            last_seen_at: row.last_seen_at,
        };
        let outcome = judge(&facts, &shipment.rule, now);
        looked.push(decided(row, shipment, &moves, &outcome));
    }
    verdicts::set_aside(tx, &aside).await?;
    let written: Vec<Written> = looked.iter().map(|one| one.row.clone()).collect();
    let done = verdicts::write(tx, &written).await?;
    let (mut told, mut good) = (Vec::new(), Vec::new());
    let mut ends = Ends::default();
    for one in looked {
        if done.contains(&(one.row.rollout, one.row.device)) {
            match one.failed {
                Some(reason) => ends.failed(one.row.rollout, one.row.device, reason),
                None if one.row.status == DeviceStatus::RolledBack => ends.rolled_back(),
                None => {}
            }
            told.extend(one.event);
            good.extend(one.good);
        }
    }
    verdicts::no_longer_good(tx, &good).await?;
    events::append_all(tx, told).await?;
    Ok(ends)
}

/// The services that were put back, as they were written down then.
fn way_back(evidence: Option<&Value>) -> Vec<Move> {
    evidence
        .and_then(|e| e.pointer("/rollback/services"))
        .and_then(|services| serde_json::from_value(services.clone()).ok())
        .unwrap_or_default()
}

/// Whether services stayed on the image that was taken back, for want of one that is good for them.
fn left_some(evidence: Option<&Value>) -> bool {
    evidence
        .and_then(|e| {
            e.pointer("/rollback/services_without_a_good_image")?
                .as_u64()
        })
        .is_some_and(|services| services > 0)
}

/// Those of them whose image is still the one they were put back on.
fn still_wanted(state: &TargetState, moves: &[Move]) -> Vec<Wanted> {
    state
        .services()
        .filter(|(app_id, service)| {
            moves.iter().any(|m| {
                (m.app_id, m.service_id) == (*app_id, service.service_id)
                    && m.to == service.image_name
            })
        })
        .map(|(app_id, service)| Wanted {
            app_id,
            service_id: service.service_id,
            image: service.image_name.clone(),
            runs: service.state.as_deref() != Some("stopped"),
        })
        .collect()
}

fn written(row: &InFlight, status: DeviceStatus, reason: Option<&str>) -> Written {
    Written {
        rollout: row.rollout,
        device: row.device,
        from: row.status,
        since: row.since,
        status,
        reason: reason.map(str::to_owned),
        verdict: None,
        evidence: None,
        check_at: None,
        deadline_at: row.deadline_at,
    }
}

fn event(row: &InFlight, shipment: &Shipment, kind: EventType, data: Value) -> NewEvent {
    NewEvent::new(kind, NAME)
        .rollout(row.rollout, shipment.correlation_id)
        .device(row.device)
        .subject(&shipment.image())
        .data(data)
}

fn left_alone(row: &InFlight, shipment: &Shipment) -> Looked {
    let (status, reason) = (DeviceStatus::Skipped, SkipReason::TargetChanged);
    let data = json!({"status": status, "reason": reason});
    Looked {
        row: written(row, status, Some(reason.as_str())),
        event: Some(event(row, shipment, EventType::DeviceSkipped, data)),
        good: Vec::new(),
        failed: None,
    }
}

fn given_up(row: &InFlight, shipment: &Shipment, moves: &[Move], reason: &'static str) -> Looked {
    let status = DeviceStatus::RollbackFailed;
    let data = json!({
        "status": status,
        "reason": reason,
        "services": moves,
        "rollback_version": row.rollback_version,
    });
    Looked {
        row: written(row, status, Some(reason)),
        event: Some(event(row, shipment, EventType::DeviceRollbackFailed, data)),
        good: Vec::new(),
        failed: Some(reason),
    }
}

/// An operator may take back an image that was healthy: it is not where to go next time.
fn taken_back(row: &InFlight, moves: &[Move]) -> Vec<LastGood> {
    moves
        .iter()
        .map(|m| LastGood {
            device: row.device,
            app_id: m.app_id,
            service_id: m.service_id,
            image: m.from.clone(),
            rollout: None,
        })
        .collect()
}

fn decided(row: &InFlight, shipment: &Shipment, moves: &[Move], outcome: &Outcome) -> Looked {
    // Why it went back stays, unless something else is to be said.
    let cause = row
        .evidence
        .as_ref()
        .and_then(|e| e.pointer("/rollback/reason")?.as_str());
    match outcome {
        // A person has to see to the others.
        Outcome::RolledBack if left_some(row.evidence.as_ref()) => Looked {
            good: taken_back(row, moves),
            ..given_up(row, shipment, moves, NO_GOOD_IMAGE)
        },
        Outcome::RolledBack => Looked {
            row: written(row, DeviceStatus::RolledBack, cause),
            event: Some(event(
                row,
                shipment,
                EventType::DeviceRolledBack,
                json!({
                    "status": DeviceStatus::RolledBack,
                    "reason": cause,
                    "services": moves,
                    "rollback_version": row.rollback_version,
                }),
            )),
            failed: None,
            good: taken_back(row, moves),
        },
        Outcome::TimedOut => given_up(row, shipment, moves, TIMED_OUT),
        Outcome::Wait {
            check_at,
            deadline_at,
            silent,
        } => Looked {
            row: Written {
                check_at: Some(*check_at),
                deadline_at: *deadline_at,
                ..written(
                    row,
                    DeviceStatus::RollingBack,
                    if *silent { Some(SILENT) } else { cause },
                )
            },
            event: None,
            good: Vec::new(),
            failed: None,
        },
    }
}
