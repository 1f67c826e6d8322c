//! state-api in a process of its own, so that its memory is its own and not the load's.

use anyhow::{Context, Result, bail};
use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use windlass_service::config::Config;
use windlass_service::{Deps, listen, serve};

/// The argument that makes this program the server; the address of the store comes after it.
const SERVE: &str = "serve-state-api";

/// The store that this process is to serve, where that is what it was started for.
pub(crate) fn asked() -> Option<String> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == SERVE)
        .then(|| arguments.next())
        .flatten()
}

/// Serves state-api with its defaults until standard input ends: so it never outlives who started it.
pub(crate) fn run(url: &str) -> Result<()> {
    // As the programs of the services have it.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut config = Config::default();
        url.clone_into(&mut config.store.url);
        let deps = Deps::open(&config, Default::default()).await?;
        let part = windlass_state_api::part(&config, &deps).await?;
        let listener = listen("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?.port());
        let shutdown = deps.shutdown.clone();
        std::thread::spawn(move || {
            std::io::stdin().read_to_end(&mut Vec::new()).ok();
            shutdown.cancel();
        });
        Ok(serve(vec![part], &deps, &config.http, listener).await?)
    })
}

/// A server that runs.
pub(crate) struct Served {
    child: Child,
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
    http: reqwest::Client,
}

impl Served {
    /// Starts one on this store; returns as soon as it listens.
    pub(crate) async fn start(url: &str) -> Result<Self> {
        // What TLS is done with; the client wants to know it even where there is none.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let mut child = Command::new(std::env::current_exe()?)
            .args([SERVE, url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = child.stdout.take().context("the server says nothing")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).await?;
        let port = line.trim().parse().context("the server did not start")?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { child, port, http })
    }

    /// The same, when it knows this many devices.
    pub(crate) async fn knowing(url: &str, devices: i64) -> Result<Self> {
        let served = Self::start(url).await?;
        served.filled().await?;
        let all = f64::from(i32::try_from(devices)?);
        let cached = "windlass_devices_cached";
        served.until(cached, &[], |known| known >= all).await?;
        Ok(served)
    }

    /// Waits until it has read every device.
    pub(crate) async fn filled(&self) -> Result<()> {
        let runs = "windlass_loop_activations_total";
        let with = ["loop=\"device-cache\"", "outcome=\"ok\""];
        self.until(runs, &with, |runs| runs > 0.0).await
    }

    /// Its memory in bytes: what is resident, and what was moved out.
    pub(crate) fn memory(&self) -> Result<f64> {
        let process = self.child.id().context("the server has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let of = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim().strip_suffix(" kB")?.parse::<f64>().ok()
        };
        let resident = of("VmRSS:").context("no VmRSS")?;
        Ok((resident + of("VmSwap:").unwrap_or(0.0)) * 1024.0)
    }

    /// The processor time that it has used.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let process = self.child.id().context("the server has ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // After the name in brackets; ticks of a hundredth of a second (proc(5)).
        let (_, fields) = stat.rsplit_once(") ").context("no stat")?;
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    /// What it answers at a path: status and body.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = self.http.get(url).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// The sum of a metric's lines that contain each of these.
    pub(crate) async fn metric(&self, name: &str, with: &[&str]) -> Result<f64> {
        let (_, page) = self.get("/metrics").await?;
        Ok(page
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with([' ', '{']))
            .filter(|rest| with.iter().all(|part| rest.contains(part)))
            .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }

    /// Polls answered so far with this status.
    pub(crate) async fn polls(&self, status: &str) -> Result<f64> {
        let status = format!("status=\"{status}");
        let with = ["/state\"", "method=\"GET\"", status.as_str()];
        self.metric("windlass_http_requests_total", &with).await
    }

    /// Waits until a metric is so.
    pub(crate) async fn until(
        &self,
        name: &str,
        with: &[&str],
        good: impl Fn(f64) -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        loop {
            let value = self.metric(name, with).await?;
            if good(value) {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(120) {
                bail!("{name} stays {value}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it.
    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait().await?;
        Ok(())
    }
}
