//! Reports, each durable before its 200, against multi-row upserts straight into the database.

use crate::bench::Bench;
use crate::row::{Goal, Row};
use crate::{fleet, poll, wrk};
use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use std::io::Write as _;
use std::time::{Duration, Instant};
use windlass_bus::Bus;
use windlass_service::Deps;
use windlass_store::{Json, Kind, Options, Store, placeholders};

/// Rows of one upsert of the reference.
const GROUP: i64 = 100;

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("bench.db").display());
    let sqlite = Store::open(&Options::new(url)).await?;
    let postgres = bench.database("windlass_bench_reports").await?;
    let mut rows = beside_upserts(bench, "PostgreSQL", postgres).await?;
    rows.extend(beside_upserts(bench, "SQLite", sqlite).await?);
    Ok(rows)
}

async fn beside_upserts(bench: &Bench, name: &str, store: Store) -> Result<Vec<Row>> {
    let devices = bench.devices.min(10_000);
    fleet::fill(&store, devices, &fleet::state("demo/app:v1", 100)?).await?;
    let deps = Deps::new(store.clone(), Bus::local());
    let (_config, port) = poll::service(&deps).await?;
    let script = script(devices)?;
    let (writers, reference, table) = match store.kind() {
        Kind::Postgres => (
            4,
            "upserts of 100 reports as JSONB by 4 connections, synchronous_commit on",
            "CREATE TABLE bench_upsert (device_uuid UUID PRIMARY KEY, report JSONB NOT NULL, \
             received_at TIMESTAMPTZ NOT NULL)",
        ),
        Kind::Sqlite => (
            1,
            "upserts of 100 reports as text by the one connection that writes, synchronous = FULL",
            "CREATE TABLE bench_upsert (device_uuid BLOB PRIMARY KEY, report TEXT NOT NULL, \
             received_at TEXT NOT NULL) STRICT",
        ),
    };
    let mut session = store.begin().await?;
    session.sql(table).execute().await?;
    session.commit().await?;
    let shared = match store.kind() {
        Kind::Postgres => "the load generator shares them with the server and PostgreSQL",
        Kind::Sqlite => "the load generator shares them with the server",
    };
    let title = format!("durable reports, {name}, {devices} devices");
    let mut row = Row::new(title.clone(), "reports/s")
        .against(reference)
        .goal(Goal::RatioAtLeast(0.5))
        .note("over HTTP with 256 connections, against no HTTP at all")
        .wants_cores(4, shared);
    let mut p99 = Row::new(format!("{title}, p99"), "ms")
        .against("the time of one upsert of 100 rows (mean)")
        .goal(Goal::AtMost(60.0))
        .wants_cores(4, shared);
    wrk::run(port, script.path(), 2).await?;
    upserts(&store, devices, writers, Duration::from_secs(1)).await?;
    for _ in 0..bench.runs {
        let ours = wrk::run(port, script.path(), bench.seconds).await?;
        let length = Duration::from_secs(bench.seconds);
        let rows = upserts(&store, devices, writers, length).await?;
        row.pair(ours.per_second, rows);
        p99.pair(ours.p99_ms, 1000.0 * (GROUP * writers) as f64 / rows);
    }
    deps.shutdown.cancel();
    Ok(vec![row, p99])
}

/// A report of about 1.5 kB, as an existing agent sends it.
pub(crate) fn report(n: i64) -> serde_json::Value {
    let processes: Vec<_> = (0..10)
        .map(|p| json!({"pid": 1000 + p, "name": format!("process-{p}"), "cpu": 0.5, "mem": 1.25}))
        .collect();
    json!({
        fleet::uuid_of(n).to_string(): {
            "apps": {"1001": {"appId": 1001, "appName": "demo", "services": [{
                "serviceId": 1, "serviceName": "web", "imageName": "demo/app:v1",
                "containerId": format!("{n:064x}"), "status": "running", "state": "running",
                "config": {"image": "demo/app:v1", "restart": "unless-stopped"}}]}},
            "is_online": true, "version": 1, "cpu_usage": 12.5, "memory_usage": 123_456_789,
            "memory_total": 987_654_321, "storage_usage": 1, "storage_total": 2, "uptime": 3600,
            "local_ip": "192.168.1.10", "os_version": "Debian 12", "agent_version": "1.0.84",
            "top_processes": processes,
            "network_interfaces": [{"name": "eth0", "ip": "192.168.1.10", "mac": "00:11:22:33:44:55"}]}})
}

/// A load script that sends the report of each of these devices, made beforehand.
fn script(devices: i64) -> Result<tempfile::NamedTempFile> {
    let mut script = tempfile::NamedTempFile::new()?;
    writeln!(script, "local bodies = {{}}\nlocal keys = {{}}")?;
    for n in 0..devices {
        let mut body = GzEncoder::new(Vec::new(), Compression::default());
        serde_json::to_writer(&mut body, &report(n))?;
        let escaped: String = body
            .finish()?
            .iter()
            .map(|byte| format!("\\{byte:03}"))
            .collect();
        writeln!(
            script,
            "bodies[{n}] = \"{escaped}\"\nkeys[{n}] = \"{}\"",
            fleet::key_of(n)
        )?;
    }
    write!(
        script,
        r#"
local requests = {{}}
function init()
  math.randomseed(os.time() + math.floor(os.clock() * 1e6))
  for n = 0, {last} do
    requests[n] = wrk.format("PATCH", "/api/v1/device/state", {{ ["X-Device-API-Key"] = keys[n],
      ["Content-Type"] = "application/json", ["Content-Encoding"] = "gzip" }}, bodies[n])
  end
end
function request() return requests[math.random(0, {last})] end
"#,
        last = devices - 1
    )?;
    script.flush()?;
    Ok(script)
}

/// Rows written in a second by so many connections that upsert a hundred rows at a time.
async fn upserts(store: &Store, devices: i64, writers: i64, length: Duration) -> Result<f64> {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            let mut written = 0_i64;
            let mut first = writer * GROUP;
            while started.elapsed() < length {
                let mut session = store.begin().await?;
                let (kind, now) = (session.kind(), session.now());
                let sql = format!(
                    "INSERT INTO bench_upsert (device_uuid, report, received_at) VALUES {} \
                     ON CONFLICT (device_uuid) DO UPDATE SET report = excluded.report, \
                     received_at = excluded.received_at",
                    placeholders(kind, 1, usize::try_from(GROUP)?, 3)
                );
                let mut statement = session.built(sql);
                for n in first..first + GROUP {
                    statement = statement
                        .bind(fleet::uuid_of(n))
                        .bind(Json(report(n)))
                        .bind(now);
                }
                statement.execute().await?;
                session.commit().await?;
                written += GROUP;
                // Each writer keeps to rows of its own.
                first = (first + GROUP * writers) % (devices - devices % (GROUP * writers));
            }
            anyhow::Ok(written)
        });
    }
    let mut written = 0;
    while let Some(done) = tasks.join_next().await {
        written += done??;
    }
    Ok(written as f64 / started.elapsed().as_secs_f64())
}
