//! Polls answered 304 with a million devices known, against a tenth of them; and what a device takes in memory.

use crate::bench::Bench;
use crate::row::{Goal, Row};
use crate::served::Served;
use crate::{known, wrk};
use anyhow::{Result, bail};

/// Ten times as many devices as otherwise.
const TIMES: i64 = 10;
/// Bytes that a device may take.
const ALLOWED: f64 = 250.0;

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let (few, many) = (bench.devices, bench.devices * TIMES);
    // Of one device: an empty server could not be given the load that the others get, and load takes memory too.
    let empty = Served::knowing(&known::known(bench, 1).await?, 1).await?;
    let small = Served::knowing(&known::known(bench, few).await?, few).await?;
    let url = known::known(bench, many).await?;
    let large = Served::knowing(&url, many).await?;
    let (asked, ended) = (looked_up(&large).await?, known::transactions(&url).await?);
    let scripts = [known::polls(few, 1)?, known::polls(many, 1)?];
    let servers = [&small, &large];
    let tenth = format!("the same with {few} devices");
    let mut rates = Row::new(format!("polls answered 304, {many} devices"), "requests/s")
        .against(tenth.clone())
        .goal(Goal::RatioAtLeast(0.9));
    let mut p99 = Row::new(format!("polls answered 304, {many} devices, p99"), "ms").against(tenth);
    for run in 0..=bench.runs {
        let seconds = if run == 0 { 2 } else { bench.seconds };
        let mut loads = Vec::new();
        for (server, script) in servers.into_iter().zip(&scripts) {
            loads.push(wrk::run(server.port, script.path(), seconds).await?);
        }
        // The first pair warms up.
        if let ([few, many], true) = (loads.as_slice(), run > 0) {
            rates.pair(many.per_second, few.per_second);
            p99.pair(many.p99_ms, few.p99_ms);
        }
    }
    for server in servers {
        let (all, good) = (server.polls("").await?, server.polls("304").await?);
        if all > good {
            bail!("{} of {all} polls were not answered 304", all - good);
        }
    }
    let polls = large.polls("304").await?;
    let ended = known::transactions(&url).await? - ended;
    if looked_up(&large).await? > asked || ended as f64 * 100.0 > polls {
        bail!("{polls} polls answered 304 took {ended} transactions");
    }
    let rates = rates.note(format!(
        "no look-up in the store; {ended} transactions of the service's own loops beside {polls} polls"
    ));
    let alone = known::polls(1, 1)?;
    wrk::run(empty.port, alone.path(), bench.seconds).await?;
    let devices = f64::from(i32::try_from(many)?);
    let mut memory = Row::new(format!("memory for each of {many} devices"), "bytes")
        .goal(Goal::AtMost(ALLOWED))
        .note(format!(
            "resident after the load: {:.0} MiB; a server of one device {:.0} MiB; with {few} devices {:.0} MiB",
            large.memory()? / 1_048_576.0,
            empty.memory()? / 1_048_576.0,
            small.memory()? / 1_048_576.0
        ));
    memory.run((large.memory()? - empty.memory()?) / devices);
    for server in [empty, small, large] {
        server.end().await?;
    }
    Ok(vec![rates, p99, memory])
}

/// Statements that looked for devices or their targets so far.
async fn looked_up(served: &Served) -> Result<f64> {
    served
        .metric("windlass_device_lookup_group_size_count", &[])
        .await
}
