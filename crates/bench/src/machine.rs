//! What the machine is: said beside every figure.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::fs;
use std::process::Command;
use windlass_store::{Options, Store};

/// The machine and the programs on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Cores that can be used.
    pub(crate) cores: usize,
    /// Their make.
    pub(crate) processor: String,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// The kernel.
    pub(crate) kernel: String,
    /// The distribution.
    pub(crate) system: String,
    /// PostgreSQL's version.
    pub(crate) postgresql: String,
    /// The compiler's version.
    pub(crate) rustc: String,
    /// Files one process may have open.
    pub(crate) files: u64,
    /// Mean number of programs that wanted to run in the minute before.
    pub(crate) load_before: f64,
}

impl Machine {
    /// Looks around.
    pub(crate) async fn look(postgres: &str) -> Result<Self> {
        let store = Store::connect(&Options::new(postgres.to_owned())).await?;
        let mut session = store.read().await?;
        let (postgresql,): (String,) = session.sql("SHOW server_version").one().await?;
        drop(session);
        store.close().await;
        let field = |path: &str, name: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once([':', '=']));
            value.map_or_else(String::new, |(_, value)| {
                value.trim().trim_matches('"').to_owned()
            })
        };
        let memory = field("/proc/meminfo", "MemTotal");
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            cores: cores(),
            processor: field("/proc/cpuinfo", "model name"),
            memory_mib: first_number(&memory).unwrap_or(0) / 1024,
            kernel: said("uname", &["-sr"]),
            system: field("/etc/os-release", "PRETTY_NAME"),
            postgresql,
            rustc: said("rustc", &["--version"]),
            files: file_limit().unwrap_or(0),
            load_before: first_word(&load).parse().unwrap_or(0.0),
        })
    }
}

/// Cores that can be used.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many files this process may have open; a connection is one, at each end.
pub(crate) fn file_limit() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    first_number(line.strip_prefix("Max open files")?)
}

/// The revision that is measured, with a plus where files differ from it.
pub(crate) fn commit() -> String {
    let mut commit = said("git", &["rev-parse", "--short=12", "HEAD"]);
    if !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
        commit.push('+');
    }
    commit
}

/// What a program prints; nothing where it is missing.
fn said(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => String::new(),
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

fn first_number(text: &str) -> Option<u64> {
    first_word(text).parse().ok()
}
