//! `windlass up` under a small fleet, and how soon it is ready.

use crate::bench::Bench;
use crate::fleet;
use crate::process::Process;
use crate::pushes::{self, OPERATOR, REPOSITORY};
use crate::row::{Goal, Row, Spread};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};
use windlass_simulator::{Behaviour, DeviceSpec, Pace, Simulator, Style};
use windlass_store::{Options, Store};
use windlass_types::ids::DeviceId;

/// Devices.
const DEVICES: i64 = 10_000;
/// How long the program is watched in each run: as long as a device's report comes once.
const WINDOW: Duration = Duration::from_secs(60);
/// Starts of one run.
const STARTS: usize = 10;

const SETTINGS: [(&str, &str); 3] = [
    ("WINDLASS_STATE_API_API_KEY", OPERATOR),
    ("WINDLASS_WATCH_ENABLED", "false"),
    (
        "WINDLASS_WEBHOOKS_ENDPOINTS",
        r#"{"docker-registry": {"insecure": true}}"#,
    ),
];

/// CPU and memory of `windlass up` with a fleet that polls and reports, while a rollout runs.
pub(crate) async fn fleet(bench: &Bench) -> Result<Vec<Row>> {
    pushes::client_side_tls();
    let data = tempfile::tempdir()?;
    populate(data.path()).await?;
    let up = Process::up(bench, data.path(), &SETTINGS)?;
    up.ready().await?;
    pushes::policy(up.port, "staged").await?;
    let pace = Pace {
        poll: Duration::from_secs(10),
        report: Some(Duration::from_secs(60)),
        ..Pace::default()
    };
    let devices = (0..DEVICES).map(|n| DeviceSpec {
        uuid: DeviceId(fleet::uuid_of(n)),
        name: format!("device-{n}"),
        key: fleet::key_of(n),
        // Registered already.
        provisioning_key: String::new(),
        seed: n.unsigned_abs(),
        behaviour: Behaviour::healthy(Style::Existing).paced(pace),
    });
    let simulator = Simulator::start(&format!("http://127.0.0.1:{}", up.port), devices.collect())?;
    installed(&simulator).await?;
    let mut cpu = Row::new("windlass up, 10,000 devices, a staged rollout: CPU", "% of a core")
        .goal(Goal::AtMost(15.0))
        .note(
            "a poll each 10 s and a report each 60 s from every device; each window of 60 s begins with a push, \
             whose rollout goes to the first 10 %",
        );
    let mut memory = Row::new("the same: resident memory at most", "MiB").goal(Goal::AtMost(150.0));
    for run in 1..=bench.runs {
        // As long as one poll: what was before is over.
        tokio::time::sleep(Duration::from_secs(10)).await;
        up.forget_peak()?;
        let (began, before) = (Instant::now(), up.cpu()?);
        pushes::push(up.port, u64::try_from(run)?).await?;
        tokio::time::sleep(WINDOW).await;
        let (took, used) = (began.elapsed(), up.cpu()? - before);
        cpu.run(100.0 * used.as_secs_f64() / took.as_secs_f64());
        memory.run(up.memory("VmHWM")?);
        let updated = simulator.count_running("web", &format!(":v{run}@"));
        if updated < usize::try_from(DEVICES / 10)? {
            bail!("only {updated} devices had the new image after {WINDOW:?}");
        }
    }
    let errors: u64 = simulator.snapshots().iter().map(|seen| seen.errors).sum();
    simulator.shutdown().await;
    Ok(vec![cpu.note(format!("{errors} requests failed")), memory])
}

/// Waits until every device runs its first target and has told so.
async fn installed(simulator: &Simulator) -> Result<()> {
    let all = usize::try_from(DEVICES)?;
    for _ in 0..120 {
        if simulator.count_running("web", REPOSITORY) == all {
            // The last reports are on their way.
            tokio::time::sleep(Duration::from_secs(5)).await;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bail!("the fleet was not up within two minutes")
}

/// A database with the fleet in it.
async fn populate(data: &Path) -> Result<()> {
    let url = format!("sqlite:{}", data.join("windlass.db").display());
    let store = Store::open(&Options::new(url)).await?;
    fleet::fill(
        &store,
        DEVICES,
        &fleet::state(&format!("{REPOSITORY}:v0"), 100)?,
    )
    .await?;
    store.close().await;
    Ok(())
}

/// How long `windlass up` takes until it says that it is ready.
pub(crate) async fn start(bench: &Bench) -> Result<Vec<Row>> {
    let kept = tempfile::tempdir()?;
    populate(kept.path()).await?;
    let row = |what: &str| {
        Row::new(
            format!("windlass up: from its start to ready, {what}"),
            "ms",
        )
        .goal(Goal::AtMost(300.0))
        .note(format!("median of {STARTS} starts in each run"))
    };
    let mut fresh = row("new database");
    let mut again = row("database with 10,000 devices");
    for _ in 0..bench.runs {
        let (mut news, mut olds) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let folder = tempfile::tempdir()?;
            news.push(one_start(bench, folder.path()).await?);
            olds.push(one_start(bench, kept.path()).await?);
        }
        fresh.run(median(&news)?);
        again.run(median(&olds)?);
    }
    Ok(vec![fresh, again])
}

fn median(values: &[f64]) -> Result<f64> {
    Ok(Spread::of(values).context("nothing was measured")?.median)
}

async fn one_start(bench: &Bench, data: &Path) -> Result<f64> {
    let began = Instant::now();
    let up = Process::up(bench, data, &SETTINGS)?;
    up.ready().await?;
    let took = began.elapsed();
    up.stop()?;
    Ok(took.as_secs_f64() * 1e3)
}
