//! Webhooks while the database is busy, against a plain insert of a delivery into the same table by as many
//! connections, on both databases.

use crate::bench::Bench;
use crate::row::Row;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use uuid::Uuid;
use windlass_bus::Bus;
use windlass_service::config::{Config, EndpointSection};
use windlass_service::{Deps, listen, serve};
use windlass_store::{Json, Options, Store, events};
use windlass_types::event::{EventType, NewEvent};

/// Writers beside the senders, and what each writes in one transaction: reports of devices in a fleet.
const WRITERS: usize = 4;
const ROWS: usize = 50;
/// Senders at once: a registry sends a few at a time, and there may be several.
const SENDERS: u64 = 16;

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    // What TLS is done with; the client wants to know it even where there is none.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("bench.db").display());
    let postgres = bench.database("windlass_bench_webhooks").await?;
    let sqlite = Store::open(&Options::new(url)).await?;
    let mut rows = Vec::new();
    for (name, store) in [("PostgreSQL", postgres), ("SQLite", sqlite)] {
        rows.extend(beside_writers(bench, name, store).await?);
    }
    Ok(rows)
}

async fn beside_writers(bench: &Bench, name: &str, store: Store) -> Result<[Row; 2]> {
    let deps = Deps::new(store.clone(), Bus::local());
    let url = service(&deps).await?;
    let busy = Arc::new(AtomicBool::new(true));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(write(store.clone(), Arc::clone(&busy)));
    }
    let row = |name: String| {
        Row::new(name, "ms").against("the same for a plain insert of a delivery and its commit")
    };
    let mut median = row(format!("webhook answered, median, busy {name}")).note(format!(
        "{SENDERS} senders over HTTP, beside {WRITERS} writers of {ROWS} rows each"
    ));
    let mut late = row(format!("webhook answered, p99, busy {name}"));
    for run in 0..=bench.runs {
        let length = Duration::from_secs(if run == 0 { 1 } else { bench.seconds });
        let ours = deliveries(&url, length).await?;
        let plain = inserts(&store, length).await?;
        // The first pair warms up.
        if run > 0 {
            median.pair(at(&ours, 50)?, at(&plain, 50)?);
            late.pair(at(&ours, 99)?, at(&plain, 99)?);
        }
    }
    busy.store(false, Ordering::Relaxed);
    while let Some(done) = writers.join_next().await {
        done??;
    }
    deps.shutdown.cancel();
    Ok([median, late])
}

/// Milliseconds within which this share of all, in per cent, was done.
fn at(took: &[Duration], share: usize) -> Result<f64> {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let place = sorted.len().saturating_sub(1) * share / 100;
    let found = sorted.get(place).context("nothing was answered")?;
    Ok(found.as_secs_f64() * 1000.0)
}

/// Starts webhook-ingest on a free port; returns the address of an endpoint.
async fn service(deps: &Deps) -> Result<String> {
    let mut config = Config::default();
    config.webhooks.requests_per_minute = 10_000_000;
    config.watch.enabled = false;
    let open = EndpointSection {
        insecure: true,
        ..EndpointSection::default()
    };
    config.webhooks.endpoints.insert("open".to_owned(), open);
    let part = windlass_webhook_ingest::part(&config, deps).await?;
    let listener = listen("127.0.0.1:0")?;
    let url = format!("http://{}/api/v1/webhooks/open", listener.local_addr()?);
    let (deps, http) = (deps.clone(), config.http.clone());
    tokio::spawn(async move { serve(vec![part], &deps, &http, listener).await });
    Ok(url)
}

/// Keeps the store busy.
async fn write(store: Store, busy: Arc<AtomicBool>) -> Result<()> {
    while busy.load(Ordering::Relaxed) {
        let mut tx = store.begin().await?;
        let event = || NewEvent::new(EventType::StateChanged, "a busy neighbour");
        events::append_all(&mut tx, std::iter::repeat_with(event).take(ROWS).collect()).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// How long each delivery took, one after the other by each sender.
async fn deliveries(url: &str, length: Duration) -> Result<Vec<Duration>> {
    // Every push is another one.
    static PUSHES: AtomicU64 = AtomicU64::new(1);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (client, url) = (client.clone(), url.to_owned());
        senders.spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < length {
                let number = PUSHES.fetch_add(1, Ordering::Relaxed);
                let image = format!("registry.example/demo/app:v{number}@sha256:{number:064x}");
                let sent = Instant::now();
                let answer = client
                    .post(&url)
                    .json(&json!({"image": image}))
                    .send()
                    .await?;
                if answer.status() != 202 {
                    bail!("{} instead of 202", answer.status());
                }
                took.push(sent.elapsed());
            }
            Ok(took)
        });
    }
    gathered(senders).await
}

/// How long each plain insert took, by as many connections as there are senders.
async fn inserts(store: &Store, length: Duration) -> Result<Vec<Duration>> {
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let store = store.clone();
        senders.spawn(async move {
            let mut took = Vec::new();
            while begun.elapsed() < length {
                let (sent, id) = (Instant::now(), Uuid::now_v7());
                let mut tx = store.begin().await?;
                let now = tx.now();
                tx.sql(
                    "INSERT INTO webhook_deliveries (id, endpoint, sender, dedupe_key, headers, body_bytes, \
                     decision, images, correlation_id, received_at) \
                     VALUES ($1, 'plain', 'generic', $2, $3, 0, 'accepted', $4, $1, $5)",
                )
                .bind(id)
                .bind(id.to_string())
                .bind(Json(json!({})))
                .bind(Json(json!([])))
                .bind(now)
                .execute()
                .await?;
                tx.commit().await?;
                took.push(sent.elapsed());
            }
            Ok(took)
        });
    }
    gathered(senders).await
}

async fn gathered(mut senders: JoinSet<Result<Vec<Duration>>>) -> Result<Vec<Duration>> {
    let mut all = Vec::new();
    while let Some(done) = senders.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}
