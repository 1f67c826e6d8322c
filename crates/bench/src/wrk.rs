//! Load from wrk, with requests that a small Lua script makes.

use anyhow::{Context, Result, bail};
use std::path::Path;
use tokio::process::Command;

/// What a run of wrk measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Requests answered in a second.
    pub(crate) per_second: f64,
    /// Ninety-nine of a hundred requests were faster than this, in milliseconds.
    pub(crate) p99_ms: f64,
}

/// Runs wrk with 256 connections against a server on loopback.
///
/// # Errors
/// Where wrk is missing or fails, or any answer was an error.
pub(crate) async fn run(port: u16, script: &Path, seconds: u64) -> Result<Load> {
    let output = Command::new("wrk")
        .args(["-t2", "-c256", "--latency", "--timeout", "5s"])
        .arg(format!("-d{seconds}s"))
        .arg("-s")
        .arg(script)
        .arg(format!("http://127.0.0.1:{port}"))
        .output()
        .await
        .context("wrk cannot be started; scripts/bench installs it")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = ["Non-2xx or 3xx responses", "Socket errors"];
    if !output.status.success() || failed.iter().any(|line| text.contains(line)) {
        bail!(
            "the load did not go through: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let field = |label: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(label))
            .map(str::trim)
            .with_context(|| format!("wrk printed no {label:?}:\n{text}"))
    };
    Ok(Load {
        per_second: field("Requests/sec:")?.parse()?,
        p99_ms: milliseconds(field("99%")?)?,
    })
}

/// wrk's `12.30us`, `4.50ms`, `1.20s` as milliseconds.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)] {
        if let Some(number) = text.strip_suffix(unit)
            && let Ok(number) = number.parse::<f64>()
        {
            return Ok(number * factor);
        }
    }
    bail!("{text:?} is no time")
}
