//! What devices ask meanwhile: polls and reports at a fixed pace, and how long each was waited for.

use crate::{fleet, poll, reports};
use anyhow::{Result, bail};
use reqwest::header::{CONTENT_TYPE, IF_NONE_MATCH};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use windlass_service::Deps;

/// Clients, and how often each of them asks: 160 polls and 40 reports in a second.
const CLIENTS: i64 = 20;
const PACE: Duration = Duration::from_millis(100);
/// Each fifth request is a report.
const REPORTS: i64 = 5;

type Waits = Arc<Mutex<Vec<(Instant, Duration)>>>;

/// Polls and reports of a few devices.
pub(super) struct Traffic {
    waits: Waits,
    paused: Arc<AtomicBool>,
}

impl Traffic {
    /// Begins; it ends with the process.
    pub(super) async fn start(deps: &Deps, devices: i64) -> Result<Self> {
        let (_config, port) = poll::service(deps).await?;
        let traffic = Self {
            waits: Waits::default(),
            paused: Arc::new(AtomicBool::new(true)),
        };
        for client in 0..CLIENTS {
            let (waits, paused) = (traffic.waits.clone(), traffic.paused.clone());
            tokio::spawn(async move {
                if let Err(error) = ask(client, devices, port, &waits, &paused).await {
                    eprintln!("a client gave up: {error}");
                }
            });
        }
        Ok(traffic)
    }

    /// Nobody asks while it is paused.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// The p99 of what is asked from now on for so long, in milliseconds.
    pub(super) async fn p99_of(&self, length: Duration) -> Result<f64> {
        let since = Instant::now();
        tokio::time::sleep(length).await;
        self.p99_since(since)
    }

    /// The p99 of what was asked since, in milliseconds.
    pub(super) fn p99_since(&self, since: Instant) -> Result<f64> {
        let waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<Duration> = waits
            .iter()
            .filter(|(at, _)| *at >= since)
            .map(|(_, wait)| *wait)
            .collect();
        found.sort_unstable();
        match found.get(found.len() * 99 / 100) {
            Some(wait) => Ok(wait.as_secs_f64() * 1000.0),
            None => bail!("nothing was asked"),
        }
    }
}

/// Asks at its pace, whether or not the last answer came in time: a wait that is longer counts for the
/// requests that it held up, too.
async fn ask(
    client: i64,
    devices: i64,
    port: u16,
    waits: &Waits,
    paused: &AtomicBool,
) -> Result<()> {
    let http = reqwest::Client::new();
    let url = format!("http://127.0.0.1:{port}/api/v1/device");
    let mut ticks = tokio::time::interval(PACE);
    for n in 0.. {
        let due = ticks.tick().await.into_std();
        if paused.load(Ordering::Relaxed) {
            continue;
        }
        let device = (client * 7919 + n * 104_729) % devices;
        let request = if (client + n) % REPORTS == 0 {
            http.patch(format!("{url}/state"))
                .header(CONTENT_TYPE, "application/json")
                .body(serde_json::to_vec(&reports::report(device))?)
        } else {
            http.get(format!("{url}/{}/state", fleet::uuid_of(device)))
                .header(IF_NONE_MATCH, "\"1\"")
        };
        let answer = request
            .header("X-Device-API-Key", fleet::key_of(device))
            .send()
            .await?;
        if answer.status().is_client_error() || answer.status().is_server_error() {
            bail!("answered {}", answer.status());
        }
        answer.bytes().await?;
        waits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((due, due.elapsed()));
    }
    Ok(())
}
