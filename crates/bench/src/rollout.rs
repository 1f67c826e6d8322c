//! Creating a staged rollout over the whole fleet and admitting its first batch, against a plain
//! `INSERT … SELECT` of as many narrow rows.

use crate::bench::Bench;
use crate::fleet;
use crate::row::Row;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use uuid::Uuid;
use windlass_bus::Bus;
use windlass_service::config::Config;
use windlass_service::{Deps, listen, serve};
use windlass_store::{Json, Store};
use windlass_types::policy::{Filters, RolloutRule};

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let store = bench.database("windlass_bench_rollout").await?;
    fleet::fill(&store, bench.devices, &fleet::state("demo/app:v0", 100)?).await?;
    let deps = Deps::new(store.clone(), Bus::local());
    let config = Config::default();
    let part = windlass_rollout_planner::part(&config, &deps).await?;
    let (served, http) = (deps.clone(), config.http.clone());
    let listener = listen("127.0.0.1:0")?;
    tokio::spawn(async move { serve(vec![part], &served, &http, listener).await });
    let mut row = Row::new(
        format!(
            "staged rollout over {} devices created, 10 % admitted",
            bench.devices
        ),
        "s",
    )
    .against("INSERT … SELECT of as many narrow rows with a primary key");
    for run in 0..=bench.runs {
        let ours = rollout(&deps, run).await?;
        let plain = insert_select(&store).await?;
        // The first pair warms up.
        if run > 0 {
            row.pair(ours, plain);
        }
    }
    deps.shutdown.cancel();
    Ok(vec![row])
}

/// Asks for a rollout by hand and waits until its first batch is admitted; seconds.
async fn rollout(deps: &Deps, run: usize) -> Result<f64> {
    let id = Uuid::now_v7();
    let mut session = deps.store.begin().await?;
    let now = session.now();
    session
        .sql(
            "INSERT INTO image_triggers (id, repository, tag, digest, rule, filters, on_unresolved, \
             actor, reason, correlation_id, created_at) \
             VALUES ($1, 'docker.io/demo/app', $2, $3, $4, $5, 'wait', 'bench', 'bench', $6, $7)",
        )
        .bind(id)
        .bind(format!("v{}", run + 1))
        .bind(format!("sha256:{run:064x}"))
        .bind(Json(RolloutRule::default()))
        .bind(Json(Filters::default()))
        .bind(Uuid::now_v7())
        .bind(now)
        .execute()
        .await?;
    let event = windlass_types::event::NewEvent::new(
        windlass_types::event::EventType::UpdateAvailable,
        "bench",
    );
    windlass_store::events::append(&mut session, event).await?;
    let started = Instant::now();
    deps.commit(session).await?;
    while started.elapsed() < Duration::from_secs(120) {
        let mut session = deps.store.read().await?;
        let admitted: Option<(i64,)> = session
            .sql("SELECT total_devices FROM image_rollouts WHERE trigger_id = $1 AND current_batch = 1")
            .bind(id)
            .optional()
            .await?;
        if admitted.is_some() {
            let took = started.elapsed().as_secs_f64();
            // Out of the way of the next one.
            drop(session);
            let mut session = deps.store.begin().await?;
            let now = session.now();
            session
                .sql("UPDATE image_rollouts SET status = 'cancelled', finished_at = $1 WHERE trigger_id = $2")
                .bind(now)
                .bind(id)
                .execute()
                .await?;
            session.commit().await?;
            return Ok(took);
        }
        drop(session);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    bail!("the rollout was not admitted within two minutes")
}

/// Seconds for a plain INSERT … SELECT of a row for each device.
async fn insert_select(store: &Store) -> Result<f64> {
    let mut session = store.begin().await?;
    session
        .sql("DROP TABLE IF EXISTS bench_rows")
        .execute()
        .await?;
    session
        .sql("CREATE TABLE bench_rows (rollout_id UUID, device_uuid UUID, batch BIGINT, status TEXT, PRIMARY KEY (rollout_id, device_uuid))")
        .execute()
        .await?;
    session.commit().await?;
    let started = Instant::now();
    let mut session = store.begin().await?;
    session
        .sql("INSERT INTO bench_rows SELECT $1, uuid, 1, 'pending' FROM devices")
        .bind(Uuid::now_v7())
        .execute()
        .await?;
    session.commit().await?;
    Ok(started.elapsed().as_secs_f64())
}
