//! A batch of which only so many devices may be on their way at once: what the next slice costs in a
//! large batch, beside a batch of a tenth of its size.

use super::{PATIENCE, make, plan, settle, wake};
use crate::bench::Bench;
use crate::fleet;
use crate::row::Row;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use windlass_bus::Bus;
use windlass_service::Deps;
use windlass_store::Store;
use windlass_types::ids::RolloutId;
use windlass_types::policy::{RolloutRule, Strategy};

/// Devices on their way at once.
const SLICE: u32 = 500;

pub(super) async fn measure(bench: &Bench) -> Result<Row> {
    let large = bench.devices.min(100_000);
    let small = large / 10;
    let mut row = Row::new(
        format!("the next {SLICE} of a batch of {large} devices, so many at once"),
        "ms",
    )
    .against(format!("the same of a batch of {small}"));
    let ours = start(bench, "windlass_bench_large", large).await?;
    let theirs = start(bench, "windlass_bench_small", small).await?;
    for run in 0..=bench.runs {
        let (ours, theirs) = (next(&ours).await?, next(&theirs).await?);
        if run > 0 {
            row.pair(ours, theirs);
        }
    }
    for (deps, _) in [ours, theirs] {
        deps.shutdown.cancel();
    }
    Ok(row)
}

/// A fleet with a rollout whose first devices are on their way.
async fn start(bench: &Bench, database: &str, devices: i64) -> Result<(Deps, RolloutId)> {
    let store = bench.database(database).await?;
    fleet::fill(&store, devices, &fleet::state("demo/app:v0", 100)?).await?;
    super::label(&store).await?;
    let deps = Deps::new(store, Bus::local());
    plan(&deps).await?;
    let mut rule = RolloutRule {
        strategy: Strategy::Auto,
        ..RolloutRule::default()
    };
    rule.limits.max_in_flight = Some(SLICE);
    let (id, _) = make(&deps, 0, &rule).await?;
    admitted(&deps, id).await?;
    settle(&deps).await?;
    let mut session = deps.store.read().await?;
    session.sql("VACUUM ANALYZE").execute().await?;
    drop(session);
    Ok((deps, id))
}

/// Has everybody on the way done, and waits for the next; milliseconds.
async fn next((deps, id): &(Deps, RolloutId)) -> Result<f64> {
    let mut session = deps.store.begin().await?;
    let now = session.now();
    session
        .sql(
            "UPDATE device_rollout_status SET status = 'completed', verdict = 'healthy', \
             judged_at = $1, updated_at = $1, check_at = NULL WHERE rollout_id = $2 AND status = 'scheduled'",
        )
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    wake(&mut session).await?;
    let started = Instant::now();
    deps.commit(session).await?;
    admitted(deps, *id).await?;
    let took = started.elapsed();
    settle(deps).await?;
    Ok(took.as_secs_f64() * 1000.0)
}

async fn admitted(deps: &Deps, id: RolloutId) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        if on_the_way(&deps.store, id).await? == i64::from(SLICE) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bail!("no devices were admitted in time")
}

/// By the index of those that are looked at next.
async fn on_the_way(store: &Store, id: RolloutId) -> Result<i64> {
    let mut session = store.read().await?;
    let (devices,): (i64,) = session
        .sql(
            "SELECT COUNT(*) FROM device_rollout_status WHERE check_at > $2 AND rollout_id = $1 \
             AND status IN ('scheduled', 'updating', 'verifying', 'rolling_back') AND status = 'scheduled'",
        )
        .bind(id.0)
        .bind(chrono::DateTime::UNIX_EPOCH)
        .one()
        .await?;
    Ok(devices)
}
