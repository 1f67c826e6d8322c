//! Whether devices on their way back got there, by their reports.

use crate::NAME;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use windlass_core::rollback::{Facts, Move, Outcome, judge};
use windlass_core::verdict::Wanted;
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::verdicts::{self, InFlight, LastGood, Shipment, Written};
use windlass_store::{Result, Session, events, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::StateId;
use windlass_types::rollout::{DeviceStatus, SkipReason};
use windlass_types::target::TargetState;

const ON_THE_WAY: &[DeviceStatus] = &[DeviceStatus::RollingBack];
const TIMED_OUT: &str = "rollback_timeout";
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
    look(&mut tx, rows).await?;
    deps.commit(tx).await?;
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
    let mut tx = deps.store.begin().await?;
    let rows = verdicts::due(&mut tx, ON_THE_WAY, group).await?;
    let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= group;
    look(&mut tx, rows).await?;
    deps.commit(tx).await?;
    Ok(if full { Next::Again } else { Next::Idle })
}

/// What is to be written of one device.
struct Looked {
    row: Written,
    event: Option<NewEvent>,
    good: Vec<LastGood>,
}

async fn look(tx: &mut Session, rows: Vec<InFlight>) -> Result<()> {
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
        let wanted = states
            .get(&row.state)
            .map(|state| still_wanted(state, &moves))
            .unwrap_or_default();
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
    for one in looked {
        if done.contains(&(one.row.rollout, one.row.device)) {
            told.extend(one.event);
            good.extend(one.good);
        }
    }
    verdicts::no_longer_good(tx, &good).await?;
    events::append_all(tx, told).await?;
    Ok(())
}

/// The services that were put back, as they were written down then.
fn way_back(evidence: Option<&Value>) -> Vec<Move> {
    evidence
        .and_then(|e| e.pointer("/rollback/services"))
        .and_then(|services| serde_json::from_value(services.clone()).ok())
        .unwrap_or_default()
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

fn left_alone(row: &InFlight, shipment: &Shipment) -> Looked {
    let event = NewEvent::new(EventType::DeviceSkipped, NAME)
        .rollout(row.rollout, shipment.correlation_id)
        .device(row.device)
        .subject(&shipment.image())
        .data(json!({"status": DeviceStatus::Skipped, "reason": SkipReason::TargetChanged}));
    Looked {
        row: written(
            row,
            DeviceStatus::Skipped,
            Some(SkipReason::TargetChanged.as_str()),
        ),
        event: Some(event),
        good: Vec::new(),
    }
}

fn decided(row: &InFlight, shipment: &Shipment, moves: &[Move], outcome: &Outcome) -> Looked {
    let event = |kind, data: Value| {
        NewEvent::new(kind, NAME)
            .rollout(row.rollout, shipment.correlation_id)
            .device(row.device)
            .subject(&shipment.image())
            .data(data)
    };
    // Why it went back stays, unless something else is to be said.
    let cause = row
        .evidence
        .as_ref()
        .and_then(|e| e.pointer("/rollback/reason")?.as_str());
    match outcome {
        Outcome::RolledBack => Looked {
            row: written(row, DeviceStatus::RolledBack, cause),
            event: Some(event(
                EventType::DeviceRolledBack,
                json!({"services": moves, "rollback_version": row.rollback_version,
                    "status": DeviceStatus::RolledBack, "reason": cause}),
            )),
            // An operator may take back an image that was healthy: it is not where to go next time.
            good: moves
                .iter()
                .map(|m| LastGood {
                    device: row.device,
                    app_id: m.app_id,
                    service_id: m.service_id,
                    image: m.from.clone(),
                    rollout: None,
                })
                .collect(),
        },
        Outcome::TimedOut => Looked {
            row: written(row, DeviceStatus::RollbackFailed, Some(TIMED_OUT)),
            event: Some(event(
                EventType::DeviceRollbackFailed,
                json!({"reason": TIMED_OUT, "services": moves,
                    "status": DeviceStatus::RollbackFailed}),
            )),
            good: Vec::new(),
        },
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
        },
    }
}
