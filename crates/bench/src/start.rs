//! The start of a state-api that has a million devices to learn of, while they poll from the first moment.

use crate::bench::Bench;
use crate::row::{Goal, Row};
use crate::served::Served;
use crate::{fleet, known};
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Ten times as many devices as otherwise.
const TIMES: i64 = 10;
/// Seconds until it is ready, at most.
const ALLOWED: f64 = 10.0;
/// Devices that poll at once, each the next poll as soon as it is answered.
const POLLING: i64 = 32;

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let devices = bench.devices * TIMES;
    let url = known::known(bench, devices).await?;
    let row = |what: &str| {
        let name = format!("start of state-api, {devices} devices: {what}");
        Row::new(name, "s").goal(Goal::AtMost(ALLOWED))
    };
    let (mut ready, mut filled) = (row("ready"), row("every device in memory"));
    let (mut right, mut later) = (0, 0);
    for run in 0..bench.runs {
        let begun = Instant::now();
        let served = Served::start(&url).await?;
        let done = Arc::new(AtomicBool::new(false));
        let mut polling = JoinSet::new();
        for n in 0..POLLING {
            let first = i64::try_from(run)? + n * 7919;
            polling.spawn(poll(served.port, devices, first, Arc::clone(&done)));
        }
        while served.get("/readyz").await?.0 != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ready.run(begun.elapsed().as_secs_f64());
        served.filled().await?;
        filled.run(begun.elapsed().as_secs_f64());
        done.store(true, Ordering::Relaxed);
        while let Some(told) = polling.join_next().await {
            let (told_right, told_later) = told??;
            right += told_right;
            later += told_later;
        }
        served.end().await?;
    }
    let filled = filled.note(format!(
        "meanwhile {POLLING} devices polled from the first moment: {right} answers were right, {later} were 503, \
         none was wrong"
    ));
    Ok(vec![ready, filled])
}

/// Polls as one device after the other, until it is done: how many were answered rightly, and how many 503.
async fn poll(port: u16, devices: i64, first: i64, done: Arc<AtomicBool>) -> Result<(u64, u64)> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let (mut right, mut later) = (0, 0);
    let mut n = first;
    while !done.load(Ordering::Relaxed) {
        // Every part of the order of uuids in turn; 104,729 is a prime.
        n = (n + 104_729) % (devices + devices / 100);
        // One of a hundred is not known, and one in eight of each kind asks otherwise.
        let (key, etag, expected) = match n % 8 {
            _ if n >= devices => (n, 1, 404),
            0 => (n + 1, 1, 401),
            1 => (n, 0, 200),
            _ => (n, 1, 304),
        };
        let answer = http
            .get(format!(
                "http://127.0.0.1:{port}/api/v1/device/{}/state",
                fleet::uuid_of(n)
            ))
            .header("X-Device-API-Key", fleet::key_of(key))
            .header("If-None-Match", format!("\"{etag}\""))
            .send()
            .await?;
        match answer.status().as_u16() {
            status if status == expected => right += 1,
            503 => later += 1,
            status => bail!("device {n} was answered {status} instead of {expected}"),
        }
        answer.bytes().await?;
    }
    Ok((right, later))
}
