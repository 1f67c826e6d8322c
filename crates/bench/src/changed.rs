//! Polls answered 200 after a change, against those answered 304: a target state of 4 kB for each.

use crate::bench::Bench;
use crate::row::{Goal, Row};
use crate::served::Served;
use crate::{fleet, known, wrk};
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Bytes of environment in the target state.
const BYTES: usize = 4000;

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let name = "windlass_bench_changed";
    let url = known::address(bench, name)?;
    let store = bench.database(name).await?;
    fleet::fill(&store, bench.devices, &fleet::state("demo/app:v1", BYTES)?).await?;
    let served = Served::knowing(&url, bench.devices).await?;
    // What devices are told of is a change that came while the server ran.
    known::change(&store, bench.devices, &fleet::state("demo/app:v2", BYTES)?).await?;
    store.close().await;
    let (old, new) = (
        known::polls(bench.devices, 1)?,
        known::polls(bench.devices, 2)?,
    );
    let last = bench.devices - 1;
    for _ in 0..100 {
        if status(&served, last, 2).await?.0 == 304 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let same = "polls of the same server answered 304";
    let mut rates = Row::new("polls answered 200, 4 kB target state", "requests/s")
        .against(same)
        .goal(Goal::RatioAtLeast(0.3));
    let mut p99 = Row::new("polls answered 200, 4 kB target state, p99", "ms").against(same);
    let mut told = 0.0;
    for run in 0..=bench.runs {
        let seconds = if run == 0 { 2 } else { bench.seconds };
        let before = served.polls("200").await?;
        let news = wrk::run(served.port, old.path(), seconds).await?;
        told += served.polls("200").await? - before;
        let same = wrk::run(served.port, new.path(), seconds).await?;
        // The first pair warms up.
        if run > 0 {
            rates.pair(news.per_second, same.per_second);
            p99.pair(news.p99_ms, same.p99_ms);
        }
    }
    let (all, good) = (
        served.polls("").await?,
        served.polls("200").await? + served.polls("304").await?,
    );
    if all > good || told < 1.0 {
        bail!(
            "{} of {all} polls were answered neither 200 nor 304",
            all - good
        );
    }
    for n in (0..bench.devices).step_by(usize::try_from(bench.devices / 20 + 1)?) {
        check(&served, n).await?;
    }
    let rates = rates.note(cost(&served, told).await?);
    served.end().await?;
    Ok(vec![rates, p99])
}

/// What a poll of this device with this ETag is answered.
async fn status(served: &Served, n: i64, etag: i64) -> Result<(u16, String)> {
    let url = format!(
        "http://127.0.0.1:{}/api/v1/device/{}/state",
        served.port,
        fleet::uuid_of(n)
    );
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .get(url)
        .header("X-Device-API-Key", fleet::key_of(n))
        .header("If-None-Match", format!("\"{etag}\""))
        .send()
        .await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

/// Each device is told its own target, whole, at the new version.
async fn check(served: &Served, n: i64) -> Result<()> {
    let (status, body) = status(served, n, 1).await?;
    let body: Value = serde_json::from_str(&body)?;
    let mine = body
        .get(fleet::uuid_of(n).to_string())
        .context("another device's target")?;
    let image = mine.pointer("/apps/1001/services/0/imageName");
    let pad = mine.pointer("/apps/1001/services/0/config/environment/PAD");
    if status != 200
        || mine["version"] != 2
        || image != Some(&Value::from("demo/app:v2"))
        || pad != Some(&Value::from("x".repeat(BYTES)))
    {
        bail!("device {n} was answered {status}: {mine}");
    }
    Ok(())
}

/// What the answers cost the database, as it counts itself.
async fn cost(served: &Served, told: f64) -> Result<String> {
    let groups = served
        .metric("windlass_device_lookup_group_size_count", &["target"])
        .await?;
    Ok(if groups > 0.0 {
        format!("{told:.0} polls answered 200 by {groups:.0} statements")
    } else {
        format!("{told:.0} polls answered 200")
    })
}
