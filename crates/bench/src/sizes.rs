//! What PostgreSQL has to carry for each device: the units that docs/sizing.md calculates with.

use crate::bench::Bench;
use crate::fleet;
use crate::process::Process;
use crate::pushes::{self, OPERATOR, REPOSITORY};
use crate::row::Row;
use anyhow::{Result, bail};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;
use windlass_store::{Options, Store};

/// Devices: enough that the pages that are begun do not count.
const DEVICES: i64 = 20_000;
/// Devices that report at once.
const SENDERS: i64 = 64;

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    pushes::client_side_tls();
    let url = bench.database_url("windlass_bench_sizes").await?;
    let store = Store::open(&Options::new(url.clone())).await?;
    let mut units = Units {
        rows: Vec::new(),
        last: Carried::of(&store).await?,
    };
    let state = fleet::state(&format!("{REPOSITORY}:v0"), 100)?;
    fleet::fill(&store, DEVICES, &state).await?;
    units.add(&store, "a device and its target").await?;

    let settings = [
        ("WINDLASS_STORE_URL", url.as_str()),
        ("WINDLASS_STATE_API_API_KEY", OPERATOR),
        ("WINDLASS_WATCH_ENABLED", "false"),
        (
            "WINDLASS_WEBHOOKS_ENDPOINTS",
            r#"{"docker-registry": {"insecure": true}}"#,
        ),
    ];
    let api = Process::service(bench, "state-api", &settings)?;
    let ingest = Process::service(bench, "webhook-ingest", &settings)?;
    let planner = Process::service(bench, "rollout-planner", &settings)?;
    for process in [&api, &ingest, &planner] {
        process.ready().await?;
    }
    // The first report makes a device's row; those after it change it.
    reports(api.port, "v0", 0).await?;
    units.add(&store, "a device's first report").await?;
    reports(api.port, "v0", 1).await?;
    units
        .add(&store, "a report in which nothing has changed")
        .await?;
    pushes::policy(api.port, "auto").await?;
    pushes::push(ingest.port, 1).await?;
    admitted(&store).await?;
    units
        .add(&store, "a device in a rollout, made and admitted")
        .await?;
    reports(api.port, "v1", 2).await?;
    units.add(&store, "a report of another image").await?;
    Ok(units.rows)
}

/// The units so far, and what the database carried after the last of them.
struct Units {
    rows: Vec<Row>,
    last: Carried,
}

impl Units {
    /// What was added for each device since the last unit, on disk and in the log.
    async fn add(&mut self, store: &Store, what: &str) -> Result<()> {
        let now = Carried::of(store).await?;
        let each = |bytes: i64| bytes as f64 / DEVICES as f64;
        let mut disk = Row::new(format!("PostgreSQL, {what}: on disk"), "bytes");
        disk.run(each(now.disk - self.last.disk));
        let mut wal = Row::new(format!("PostgreSQL, {what}: WAL"), "bytes");
        wal.run(each(now.wal - self.last.wal));
        self.rows.extend([disk, wal]);
        self.last = now;
        Ok(())
    }
}

/// What a database carries, in bytes.
struct Carried {
    /// All tables and their indices.
    disk: i64,
    /// Written to the log since the cluster was made.
    wal: i64,
}

impl Carried {
    async fn of(store: &Store) -> Result<Self> {
        let mut session = store.read().await?;
        let (disk, wal): (i64, i64) = session
            .sql(
                "SELECT CAST(SUM(pg_total_relation_size(oid)) AS BIGINT), \
                 CAST(pg_current_wal_lsn() - '0/0' AS BIGINT) FROM pg_class \
                 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
            )
            .one()
            .await?;
        Ok(Self { disk, wal })
    }
}

/// Lets every device report once that it runs the image with this tag; `round` is in what changes always.
async fn reports(port: u16, tag: &'static str, round: i64) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let client = client.clone();
        senders.spawn(async move {
            for n in (sender..DEVICES).step_by(usize::try_from(SENDERS)?) {
                let answer = client
                    .patch(format!("http://127.0.0.1:{port}/api/v1/device/state"))
                    .header("X-Device-API-Key", fleet::key_of(n))
                    .json(&report(n, tag, round))
                    .send()
                    .await?;
                if !answer.status().is_success() {
                    bail!("a report was answered {}", answer.status());
                }
            }
            Ok(())
        });
    }
    while let Some(done) = senders.join_next().await {
        done??;
    }
    Ok(())
}

/// A report as an existing agent sends it.
fn report(n: i64, tag: &str, round: i64) -> serde_json::Value {
    let image = format!("{REPOSITORY}:{tag}");
    json!({
        fleet::uuid_of(n).to_string(): {
            "apps": {"1001": {"appId": 1001, "appName": "demo", "services": [{
                "serviceId": 1, "serviceName": "web", "imageName": image,
                "containerId": format!("{n:060x}{tag}"), "status": "running", "state": "running",
                "config": {"image": image, "restart": "unless-stopped"}}]}},
            "is_online": true, "version": 1, "cpu_usage": 10.5, "memory_usage": 123_456_789 + round,
            "memory_total": 987_654_321, "storage_usage": 1, "storage_total": 2, "uptime": 3600 + round,
            "local_ip": "192.168.1.10", "os_version": "Debian 12", "agent_version": "1.0.84"}})
}

/// Waits until every device of the rollout was admitted.
async fn admitted(store: &Store) -> Result<()> {
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut session = store.read().await?;
        let (admitted,): (i64,) = session
            .sql("SELECT COUNT(*) FROM device_targets WHERE version > 1")
            .one()
            .await?;
        if admitted == DEVICES {
            return Ok(());
        }
    }
    bail!("the rollout was not admitted within two minutes")
}
