//! Programs that are measured from outside, and what the kernel says of them.

use crate::bench::Bench;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a program may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program; ended when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// Where it listens on loopback.
    pub(crate) port: u16,
}

/// The `main` of a service's own program.
type Main = fn() -> ExitCode;

/// The services, by the name under which this program plays them: see [`play`].
const SERVICES: [(&str, Main); 5] = [
    ("webhook-ingest", windlass_webhook_ingest::main),
    ("rollout-planner", windlass_rollout_planner::main),
    ("health-checker", windlass_health_checker::main),
    ("rollback-manager", windlass_rollback_manager::main),
    ("state-api", windlass_state_api::main),
];

/// The names of all services.
pub(crate) fn services() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().map(|(name, _)| *name)
}

/// Where this program was started under a service's name, it is that service: the same `main` as that of
/// the service's own program, so that one program has to be built and not six.
pub(crate) fn play() -> Option<ExitCode> {
    let name = std::env::args().next()?;
    let (_, main) = SERVICES.iter().find(|(service, _)| *service == name)?;
    Some(main())
}

impl Process {
    /// Starts a service as a process of its own, on a free port of loopback.
    pub(crate) fn service(bench: &Bench, name: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg0(name);
        let address = format!("127.0.0.1:{port}");
        command.env("WINDLASS_HTTP_LISTEN", address);
        Self::spawn(bench, command, name, port, settings)
    }

    /// Starts `windlass up` with its data in this folder, on a free port of loopback.
    pub(crate) fn up(bench: &Bench, data: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(bench.program("windlass")?);
        command
            .arg("up")
            .arg("--data")
            .arg(data)
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        Self::spawn(bench, command, "windlass-up", port, settings)
    }

    fn spawn(
        bench: &Bench,
        mut command: Command,
        name: &str,
        port: u16,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let log = match &bench.logs {
            Some(folder) => File::create(folder.join(format!("{name}.log")))?.into(),
            None => Stdio::null(),
        };
        // Settings of ours would be taken for misspelt ones of the program's.
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("WINDLASS_BENCH_") {
                command.env_remove(key);
            }
        }
        let child = command
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { child, port })
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        let began = Instant::now();
        while !is_ready(self.port).await {
            if began.elapsed() > PATIENCE {
                bail!("a program was not ready within {PATIENCE:?}; see --logs");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        self.child.wait()?;
        Ok(())
    }

    /// The time on cores that it has taken so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let times = rest.split_whitespace().skip(11).take(2);
        let ticks: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
        // A tick is a hundredth of a second on every Linux that this runs on (USER_HZ).
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory in MiB: `VmRSS` now, `VmHWM` at most since [`Process::forget_peak`].
    pub(crate) fn memory(&self, which: &str) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(which));
        let kib = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        let kib: f64 = kib.context("the kernel does not say it")?.parse()?;
        Ok(kib / 1024.0)
    }

    /// Lets the peak of its memory begin anew (proc_pid_clear_refs(5)).
    pub(crate) fn forget_peak(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5")?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; then nothing is to be done.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether a program on loopback answers 200 at `/readyz`.
async fn is_ready(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await
        .is_ok_and(|answer| answer.split(|byte| *byte == b' ').nth(1) == Some(b"200"))
}

/// A port of loopback that nobody has now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
