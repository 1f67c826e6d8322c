//! One pass: claim a group of devices, judge them, write what came out, all in one transaction.

mod judging;
mod writing;

use crate::NAME;
use prometheus::{IntCounterVec, Opts, Registry};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::verdicts::{self, InFlight};
use windlass_store::{Result, Session, events};
use windlass_types::rollout::DeviceStatus;

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
    let mut read = deps.store.read().await?;
    if !verdicts::any_due(&mut read, IN_FLIGHT).await? {
        return Ok(Next::Idle);
    }
    drop(read);
    let mut tx = deps.store.begin().await?;
    let rows = verdicts::due(&mut tx, IN_FLIGHT, group).await?;
    finish_group(deps, counter, tx, rows, group).await
}

/// Goes on with unreachable devices that were seen again.
///
/// # Errors
/// Whatever the store says; then nothing was judged.
pub async fn returned(deps: &Deps, counter: &Counter, group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    if !verdicts::any_returned(&mut read).await? {
        return Ok(Next::Idle);
    }
    drop(read);
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
    let judged = judging::judge_all(&mut tx, rows).await?;
    let written = writing::write(&mut tx, &judged).await?;
    deps.commit(tx).await?;
    for one in written {
        counter
            .0
            .with_label_values(&[one.row.status.as_str()])
            .inc();
    }
    Ok(!judged.is_empty())
}
