//! From a webhook to waiting devices, between the processes of the distributed tier.

use crate::bench::Bench;
use crate::fleet;
use crate::process::{Process, services};
use crate::row::{Goal, Row};
use crate::waiting::Waiting;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use windlass_store::{Options, Store};

/// Devices that wait.
const DEVICES: i64 = 10_000;
/// Pushes of one run.
const PUSHES: usize = 20;
/// What the fleet runs.
pub(crate) const REPOSITORY: &str = "registry.example/demo/app";
/// The operator's key.
pub(crate) const OPERATOR: &str = "bench-operator-key";

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    client_side_tls();
    let url = bench.database_url("windlass_bench_pushes").await?;
    let store = Store::open(&Options::new(url.clone())).await?;
    fleet::fill(
        &store,
        DEVICES,
        &fleet::state(&format!("{REPOSITORY}:v0"), 100)?,
    )
    .await?;
    let settings = [
        ("WINDLASS_STORE_URL", url.as_str()),
        ("WINDLASS_BUS_REDIS_URL", bench.redis()?),
        ("WINDLASS_STATE_API_API_KEY", OPERATOR),
        ("WINDLASS_WATCH_ENABLED", "false"),
        (
            "WINDLASS_WEBHOOKS_ENDPOINTS",
            r#"{"docker-registry": {"insecure": true}}"#,
        ),
    ];
    let mut processes = BTreeMap::new();
    for name in services() {
        processes.insert(name, Process::service(bench, name, &settings)?);
    }
    for process in processes.values() {
        process.ready().await?;
    }
    let port = |name| {
        processes
            .get(name)
            .map_or(0, |process: &Process| process.port)
    };
    let (ingest, api) = (port("webhook-ingest"), port("state-api"));
    policy(api, "auto").await?;
    let mut waiting = Waiting::start(api, DEVICES).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let named = |what: &str| {
        Row::new(
            format!("webhook accepted → {what} of 10,000 waiting devices told"),
            "ms",
        )
        .wants_cores(
            4,
            "10,000 simulated devices share them with five services, PostgreSQL and Redis",
        )
    };
    let mut first = named("the first").goal(Goal::AtMost(50.0)).note(format!(
        "median of {PUSHES} pushes in each run, from the sender's 202 to the end of the device's 200"
    ));
    let mut late = named("the first, at worst,")
        .goal(Goal::AtMost(300.0))
        .note(format!("the slowest of {PUSHES} pushes in each run"));
    let mut all = named("all")
        .goal(Goal::AtMost(2000.0))
        .note(format!("the slowest of {PUSHES} pushes in each run"));
    let mut number = 0;
    for run in 0..=bench.runs {
        let (mut firsts, mut alls) = (Vec::new(), Vec::new());
        // The first run warms up.
        for _ in 0..if run == 0 { 3 } else { PUSHES } {
            number += 1;
            let accepted = push(ingest, number).await?;
            let told = waiting.all_told(Duration::from_secs(60)).await?;
            let since = |at: Instant| at.saturating_duration_since(accepted).as_secs_f64() * 1e3;
            firsts.push(since(told.0));
            alls.push(since(told.1));
            clear(&store).await?;
        }
        if run > 0 {
            firsts.sort_by(f64::total_cmp);
            alls.sort_by(f64::total_cmp);
            first.run(firsts.get(PUSHES / 2).copied().unwrap_or(f64::NAN));
            late.run(firsts.last().copied().unwrap_or(f64::NAN));
            all.run(alls.last().copied().unwrap_or(f64::NAN));
        }
    }
    Ok(vec![first, late, all])
}

/// What TLS is done with; the HTTP client wants to know it even where there is none.
pub(crate) fn client_side_tls() {
    // A second one is no error.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}

/// Makes a policy for the fleet's repository; all else as it is by default.
pub(crate) async fn policy(port: u16, strategy: &str) -> Result<()> {
    let spec = json!({"name": "bench", "image": REPOSITORY, "strategy": strategy});
    post(port, "image-policies", &spec, 201).await.map(|_| ())
}

/// Tells of a push of this number; when that was accepted.
pub(crate) async fn push(port: u16, number: u64) -> Result<Instant> {
    let image = format!("{REPOSITORY}:v{number}@sha256:{number:064x}");
    post(
        port,
        "webhooks/docker-registry",
        &json!({"image": image}),
        202,
    )
    .await
}

/// Posts; when the answer had come.
async fn post(port: u16, path: &str, body: &Value, expected: u16) -> Result<Instant> {
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .post(format!("http://127.0.0.1:{port}/api/v1/{path}"))
        .bearer_auth(OPERATOR)
        .json(body)
        .send()
        .await?;
    let at = Instant::now();
    let status = answer.status().as_u16();
    if status != expected {
        bail!("{path} answered {status}: {}", answer.text().await?);
    }
    Ok(at)
}

/// Ends the rollout, out of the way of the next one, and waits until the machine has calmed down.
async fn clear(store: &Store) -> Result<()> {
    let mut session = store.begin().await?;
    let now = session.now();
    session
        .sql("UPDATE image_rollouts SET status = 'cancelled', finished_at = $1 WHERE finished_at IS NULL")
        .bind(now)
        .execute()
        .await?;
    // As if the devices had been judged: a newer rollout has nothing to end.
    session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = 'target_changed', check_at = NULL \
             WHERE status IN ('scheduled', 'updating', 'verifying')",
        )
        .execute()
        .await?;
    session.commit().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}
