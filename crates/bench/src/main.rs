//! Measures the hot paths side by side with what the machine can do at best. Run by `scripts/bench`,
//! which brings PostgreSQL, Redis and wrk.
//!
//! * Owns: the list of benchmarks (`benchmarks.rs`, one line each), what a figure is (`row.rs`), and
//!   how figures are judged, kept and shown.
//! * Never: part of what is installed; nothing depends on it.
//!
//! Each figure comes with its reference, measured in turn with it (A B A B …) in the same run; the
//! ratio of each pair is what is quoted, because these machines are shared and noisy.

mod bench;
mod benchmarks;
mod changed;
mod compare;
mod figures;
mod fleet;
mod idle;
mod known;
mod load;
mod machine;
mod planning;
mod poll;
mod poll_million;
mod process;
mod pushes;
mod reference;
mod reports;
mod rollout;
mod row;
mod served;
mod sizes;
mod start;
mod table;
mod up;
mod waiting;
mod webhooks;
mod wrk;

use crate::bench::Bench;
use anyhow::{Context, Result};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures the hot paths beside their references.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure, as `--list` names it; everything without a name.
    names: Vec<String>,
    /// Lists the benchmarks and ends.
    #[arg(long)]
    list: bool,
    /// A PostgreSQL server in which databases may be made and dropped.
    #[arg(long, env = "WINDLASS_BENCH_POSTGRES_URL")]
    postgres: Option<String>,
    /// A Redis server.
    #[arg(long, env = "WINDLASS_BENCH_REDIS_URL")]
    redis: Option<String>,
    /// Measured pairs of each benchmark.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of load in each run.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Devices known, where the benchmark does not ask for a number of its own.
    #[arg(long, default_value_t = 100_000)]
    devices: i64,
    /// Where the figures are kept as JSON. Of a file that is there, the figures of other benchmarks stay.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Prints the figures of these files as a table in Markdown, and ends; the later file counts.
    #[arg(long, num_args = 1.., value_name = "JSON")]
    markdown: Vec<PathBuf>,
    /// Puts the table into this page, between its marks, instead of printing it.
    #[arg(long, requires = "markdown")]
    page: Option<PathBuf>,
    /// Another revision's windlass-bench, to run in turn with this one.
    #[arg(long, value_name = "PROGRAM")]
    compare_with: Option<PathBuf>,
    /// A folder for the logs of the programs that are measured from outside.
    #[arg(long)]
    logs: Option<PathBuf>,
    /// The process whose descendants are ours: all other load is held against the figures.
    #[arg(long, env = "WINDLASS_BENCH_FAMILY", hide = true)]
    family: Option<u32>,
}

fn main() -> ExitCode {
    if let Some(ended) = process::play() {
        return ended;
    }
    let run = match served::asked() {
        Some(url) => served::run(&url),
        None => run(),
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("windlass-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        benchmarks::list();
        return Ok(());
    }
    if !arguments.markdown.is_empty() {
        let figures = figures::Figures::read_all(&arguments.markdown)?;
        return figures.show(arguments.page.as_deref());
    }
    let names = benchmarks::named(&arguments.names)?;
    let bench = Bench {
        postgres: arguments.postgres.context(
            "no PostgreSQL is named: give --postgres, or run scripts/bench, which brings one",
        )?,
        redis: arguments.redis,
        runs: arguments.runs,
        seconds: arguments.seconds,
        devices: arguments.devices,
        logs: arguments.logs,
        family: arguments.family.unwrap_or_else(std::process::id),
    };
    if let Some(other) = arguments.compare_with {
        return compare::run(&bench, &other, &names);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    // Kept after each benchmark: a run of all of them is long.
    let before = match &arguments.json {
        Some(path) => figures::Figures::read_or_new(path)?,
        None => figures::Figures::default(),
    };
    runtime.block_on(figures::measure(&bench, &names, |run| {
        match &arguments.json {
            Some(path) => before.clone().with(run.clone()).write(path),
            None => Ok(()),
        }
    }))
}
