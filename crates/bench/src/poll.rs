//! Polls answered 304: every request another device, its key checked, its ETag compared.

use crate::bench::Bench;
use crate::row::{Goal, Row};
use crate::{fleet, reference, wrk};
use anyhow::{Result, bail};
use std::io::Write as _;
use windlass_bus::Bus;
use windlass_service::config::Config;
use windlass_service::{Deps, listen, serve};

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let store = bench.database("windlass_bench_poll").await?;
    fleet::fill(&store, bench.devices, &fleet::state("demo/app:v1", 100)?).await?;
    let deps = Deps::new(store, Bus::local());
    let (config, port) = service(&deps).await?;
    let reference = reference::start(
        (0..bench.devices)
            .map(|n| (fleet::uuid_of(n), (fleet::key_of(n), "\"1\"".to_owned())))
            .collect(),
    )?;
    let mut script = tempfile::NamedTempFile::new()?;
    write!(
        script,
        r#"
function init() math.randomseed(os.time() + math.floor(os.clock() * 1e6)) end
function request()
  local n = math.random(0, {last})
  return wrk.format("GET", string.format("/api/v1/device/00000000-0000-4000-8000-%012x/state", n), {{
    ["X-Device-API-Key"] = string.format("%064x", n), ["If-None-Match"] = '"1"' }})
end
"#,
        last = bench.devices - 1
    )?;
    let bare = "bare actix-web, 2 workers, key and ETag from a map";
    let mut rates = Row::new(
        format!("polls answered 304, {} devices", bench.devices),
        "requests/s",
    )
    .against(bare)
    .goal(Goal::RatioAtLeast(0.8))
    .note("wrk shares the machine's cores with the server it loads, and with the reference alike");
    let mut p99 = Row::new(
        format!("polls answered 304, {} devices, p99", bench.devices),
        "ms",
    )
    .against(bare)
    .goal(Goal::RatioAtMost(1.5));
    // One warm-up of each, then pairs in turn.
    for target in [port, reference] {
        wrk::run(target, script.path(), 2).await?;
    }
    for _ in 0..bench.runs {
        let ours = wrk::run(port, script.path(), bench.seconds).await?;
        let theirs = wrk::run(reference, script.path(), bench.seconds).await?;
        rates.pair(ours.per_second, theirs.per_second);
        p99.pair(ours.p99_ms, theirs.p99_ms);
    }
    // wrk takes any 2xx or 3xx for an answer; our own counters say which it was.
    let others = deps
        .metrics
        .gather()
        .iter()
        .filter(|family| family.name() == "windlass_http_requests_total")
        .flat_map(|family| family.get_metric().to_vec())
        .filter(|metric| {
            metric
                .get_label()
                .iter()
                .any(|l| l.value().ends_with("/state"))
        })
        .filter(|metric| !metric.get_label().iter().any(|l| l.value() == "304"))
        .map(|metric| metric.get_counter().get_value())
        .sum::<f64>();
    if others > 0.0 {
        bail!("{others} polls were not answered 304");
    }
    deps.shutdown.cancel();
    drop(config);
    Ok(vec![rates, p99])
}

/// Starts state-api on a free port and waits until it answers.
pub(crate) async fn service(deps: &Deps) -> Result<(Config, u16)> {
    let mut config = Config::default();
    config.state_api.api_key = Some("bench-operator-key".to_owned());
    let part = windlass_state_api::part(&config, deps).await?;
    let listener = listen("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let (deps, http) = (deps.clone(), config.http.clone());
    tokio::spawn(async move { serve(vec![part], &deps, &http, listener).await });
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            return Ok((config, port));
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    bail!("state-api did not come up")
}
