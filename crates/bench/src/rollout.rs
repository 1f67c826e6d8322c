//! Making a staged rollout over the whole fleet and admitting its first batch, each against what
//! PostgreSQL does at best with as many narrow rows; and a batch that is admitted slice by slice.

mod limited;
mod plain;
mod traffic;

use crate::bench::Bench;
use crate::fleet;
use crate::row::{Goal, Row};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use traffic::Traffic;
use uuid::Uuid;
use windlass_bus::Bus;
use windlass_service::config::Config;
use windlass_service::{Deps, listen, serve};
use windlass_store::commands::{self, NewCommand};
use windlass_store::{Json, Session, Store};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{CommandId, RolloutId};
use windlass_types::policy::{ApprovalBefore, Filters, RolloutRule};
use windlass_types::rollout::CommandKind;

/// How long anything may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    // What TLS is done with; the client wants to know it even where there is none.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let store = bench.database("windlass_bench_rollout").await?;
    // Ten times as many as elsewhere: a million.
    let devices = bench.devices * 10;
    fleet::fill(&store, devices, &fleet::state("demo/app:v0", 100)?).await?;
    label(&store).await?;
    let deps = Deps::new(store.clone(), Bus::local());
    plan(&deps).await?;
    let traffic = Traffic::start(&deps, devices).await?;
    let (mut made, mut wal, mut admitted, mut p99) = rows(devices);
    for run in 0..=bench.runs {
        traffic.pause(false);
        let quiet = traffic.p99_of(Duration::from_secs(bench.seconds)).await?;
        let before = wal_mb(&store, None).await?;
        let since = Instant::now();
        let (id, ours) = make(&deps, run, &staged()).await?;
        let busy = traffic.p99_since(since)?;
        let ours_wal = wal_mb(&store, Some(before)).await?;
        traffic.pause(true);
        settle(&deps).await?;
        let ours_admitted = approve(&deps, id).await?;
        settle(&deps).await?;
        cancel(&deps, id).await?;
        let before = wal_mb(&store, None).await?;
        let theirs = plain::insert_select(&store).await?;
        let theirs_wal = wal_mb(&store, Some(before)).await?;
        let theirs_admitted = plain::update(&store, devices / 10).await?;
        eprintln!(
            "  run {run}: made in {ours:.2} s ({theirs:.2}), {ours_wal:.0} MB ({theirs_wal:.0}), \
             p99 {busy:.1} ms ({quiet:.1}), admitted in {ours_admitted:.2} s ({theirs_admitted:.2})"
        );
        // The first pair warms up.
        if run > 0 {
            made.pair(ours, theirs);
            wal.pair(ours_wal, theirs_wal);
            admitted.pair(ours_admitted, theirs_admitted);
            p99.pair(busy, quiet);
        }
    }
    deps.shutdown.cancel();
    let mut rows = vec![made, wal, p99, admitted];
    rows.push(limited::measure(bench).await?);
    Ok(rows)
}

fn rows(devices: i64) -> (Row, Row, Row, Row) {
    let insert = "INSERT … SELECT of as many narrow rows with a primary key";
    (
        Row::new(format!("staged rollout over {devices} devices made"), "s")
            .against(insert)
            .goal(Goal::RatioAtMost(2.5)),
        Row::new("the same, WAL written", "MB")
            .against(insert)
            .goal(Goal::AtMost(250.0))
            .note("polls and reports of the row below write some of it"),
        Row::new(format!("a batch of {} devices admitted", devices / 10), "s")
            .against("one UPDATE of as many narrow rows")
            .goal(Goal::RatioAtMost(3.0)),
        Row::new(
            "p99 of 160 polls and 40 reports a second while a rollout is made",
            "ms",
        )
        .against("the same before")
        .goal(Goal::RatioAtMost(2.0)),
    )
}

/// Every device carries the label that rollouts are scoped by.
async fn label(store: &Store) -> Result<()> {
    let mut session = store.begin().await?;
    session
        .sql("INSERT INTO device_tags (device_uuid, key, value) SELECT uuid, 'channel', 'stable' FROM devices")
        .execute()
        .await?;
    session.commit().await?;
    let mut session = store.read().await?;
    session.sql("VACUUM ANALYZE").execute().await?;
    Ok(())
}

/// Runs the planner.
async fn plan(deps: &Deps) -> Result<()> {
    let config = Config::default();
    let part = windlass_rollout_planner::part(&config, deps).await?;
    let (served, http) = (deps.clone(), config.http);
    let listener = listen("127.0.0.1:0")?;
    tokio::spawn(async move { serve(vec![part], &served, &http, listener).await });
    Ok(())
}

/// A tenth, half, all; nothing begins before somebody approves.
fn staged() -> RolloutRule {
    let mut rule = RolloutRule::default();
    rule.approval.before = Some(ApprovalBefore::Rollout);
    rule
}

/// Asks for a rollout by hand of the devices with the label; the rollout and the seconds until it was there.
async fn make(deps: &Deps, run: usize, rule: &RolloutRule) -> Result<(RolloutId, f64)> {
    let mut filters = Filters::default();
    filters
        .tags
        .insert("channel".to_owned(), "stable".to_owned());
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
        .bind(Json(rule.clone()))
        .bind(Json(filters))
        .bind(Uuid::now_v7())
        .bind(now)
        .execute()
        .await?;
    wake(&mut session).await?;
    let started = Instant::now();
    deps.commit(session).await?;
    while started.elapsed() < PATIENCE {
        let mut session = deps.store.read().await?;
        let found: Option<(Uuid,)> = session
            .sql("SELECT id FROM image_rollouts WHERE trigger_id = $1")
            .bind(id)
            .optional()
            .await?;
        if let Some((rollout,)) = found {
            return Ok((RolloutId(rollout), started.elapsed().as_secs_f64()));
        }
        drop(session);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("the rollout was not made in time")
}

/// Any event wakes the planner.
async fn wake(session: &mut Session) -> Result<()> {
    let event = NewEvent::new(EventType::UpdateAvailable, "bench");
    windlass_store::events::append(session, event).await?;
    Ok(())
}

/// Waits until whoever follows the log has come to its end.
async fn settle(deps: &Deps) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let mut session = deps.store.read().await?;
        let newest = windlass_store::events::newest(&mut session).await?;
        let read = windlass_store::events::cursor(&mut session, "rollout-planner-members").await?;
        if read == newest {
            return Ok(());
        }
        drop(session);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the log was not read in time")
}

/// Approves a rollout; the seconds until its first batch was admitted.
async fn approve(deps: &Deps, id: RolloutId) -> Result<f64> {
    let mut session = deps.store.begin().await?;
    let command = NewCommand {
        id: CommandId(session.new_id()),
        rollout: id,
        device: None,
        batch: None,
        kind: CommandKind::Approve,
        actor: "operator:bench".to_owned(),
        reason: "bench".to_owned(),
    };
    commands::insert(&mut session, &command).await?;
    let started = Instant::now();
    deps.commit(session).await?;
    while started.elapsed() < PATIENCE {
        let mut session = deps.store.read().await?;
        let admitted: Option<(i64,)> = session
            .sql("SELECT current_batch FROM image_rollouts WHERE id = $1 AND current_batch = 1")
            .bind(id.0)
            .optional()
            .await?;
        if admitted.is_some() {
            return Ok(started.elapsed().as_secs_f64());
        }
        drop(session);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bail!("the batch was not admitted in time")
}

/// Takes a rollout out of the way of the next one, which finds the table as the first one did.
async fn cancel(deps: &Deps, id: RolloutId) -> Result<()> {
    let mut session = deps.store.begin().await?;
    let now = session.now();
    session
        .sql("UPDATE image_rollouts SET status = 'cancelled', finished_at = $1 WHERE id = $2")
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    session
        .sql("DELETE FROM device_rollout_status WHERE rollout_id = $1")
        .bind(id.0)
        .execute()
        .await?;
    session.commit().await?;
    let mut session = deps.store.read().await?;
    for table in ["device_rollout_status", "device_targets", "events"] {
        session
            .built(format!("VACUUM ANALYZE {table}"))
            .execute()
            .await?;
    }
    Ok(())
}

/// Megabytes of WAL written since, or ever.
async fn wal_mb(store: &Store, since: Option<f64>) -> Result<f64> {
    let mut session = store.read().await?;
    let (bytes,): (i64,) = session
        .sql("SELECT CAST(pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS BIGINT)")
        .one()
        .await?;
    Ok(bytes as f64 / 1e6 - since.unwrap_or_default())
}
