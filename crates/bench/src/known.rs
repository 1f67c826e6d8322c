//! Fleets that several benchmarks share, each made once, and what they are asked and given.

use crate::bench::Bench;
use crate::fleet;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;
use tempfile::NamedTempFile;
use windlass_core::target;
use windlass_store::{Options, Store, events, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::target::TargetState;

/// The address of a database of this name.
pub(crate) fn address(bench: &Bench, name: &str) -> Result<String> {
    let (server, _) = bench
        .postgres
        .rsplit_once('/')
        .context("the address names no database")?;
    Ok(format!("{server}/{name}"))
}

/// A database with this many devices at version 1, made where it is not there; returns its address. Nothing
/// but the devices' presence is to be changed in it.
pub(crate) async fn known(bench: &Bench, devices: i64) -> Result<String> {
    let name = format!("windlass_bench_known_{devices}");
    let url = address(bench, &name)?;
    if let Ok(store) = Store::connect(&Options::new(url.clone())).await {
        let mut session = store.read().await?;
        let counted: Result<(i64,), _> = session.sql("SELECT COUNT(*) FROM devices").one().await;
        drop(session);
        store.close().await;
        if matches!(counted, Ok((there,)) if there == devices) {
            return Ok(url);
        }
    }
    let store = bench.database(&name).await?;
    fleet::fill(&store, devices, &fleet::state("demo/app:v1", 4000)?).await?;
    store.close().await;
    Ok(url)
}

/// A script for wrk: polls of another device each time, all with this ETag.
pub(crate) fn polls(devices: i64, etag: i64) -> Result<NamedTempFile> {
    let mut script = NamedTempFile::new()?;
    write!(
        script,
        r#"
function init() math.randomseed(os.time() + math.floor(os.clock() * 1e6)) end
function request()
  local n = math.random(0, {last})
  return wrk.format("GET", string.format("/api/v1/device/00000000-0000-4000-8000-%012x/state", n), {{
    ["X-Device-API-Key"] = string.format("%064x", n), ["If-None-Match"] = '"{etag}"' }})
end
"#,
        last = devices - 1
    )?;
    Ok(script)
}

/// Gives these devices another target, with the events that tell of it, in one transaction.
pub(crate) async fn change(store: &Store, devices: i64, state: &TargetState) -> Result<()> {
    let id = target::state_id(state);
    let mut session = store.begin().await?;
    targets::ensure_states(&mut session, &BTreeMap::from([(id, state.clone())])).await?;
    let last = fleet::uuid_of(devices - 1);
    let changed: Vec<(uuid::Uuid, i64)> = session
        .sql(
            "UPDATE device_targets SET state_id = $1, version = version + 1 WHERE device_uuid <= $2 \
             RETURNING device_uuid, version",
        )
        .bind(id.0)
        .bind(last)
        .all()
        .await?;
    if i64::try_from(changed.len())? != devices {
        bail!(
            "{} devices were changed instead of {devices}",
            changed.len()
        );
    }
    let told = changed.into_iter().map(|(device, version)| {
        NewEvent::new(EventType::TargetSet, "bench")
            .device(DeviceId(device))
            .version(version)
    });
    events::append_all(&mut session, told.collect()).await?;
    session.commit().await?;
    Ok(())
}

/// Transactions that a database has ended so far, reads included, as it counts them itself.
pub(crate) async fn transactions(url: &str) -> Result<i64> {
    // Sessions tell the server what they counted about once a second, when they have ended a transaction.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let store = Store::connect(&Options::new(url.to_owned())).await?;
    let mut session = store.read().await?;
    let (ended,): (i64,) = session
        .sql(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database \
             WHERE datname = current_database()",
        )
        .one()
        .await?;
    drop(session);
    store.close().await;
    Ok(ended)
}
