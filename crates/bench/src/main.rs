//! Measures the hot paths side by side with what the machine can do at best. Run by `scripts/bench`,
//! which brings PostgreSQL and wrk.
//!
//! Each figure comes with its reference, measured in turn with it (A B A B …) in the same run; the
//! ratio of each pair is what is quoted, because these machines are shared and noisy.

mod fleet;
mod poll;
mod reference;
mod reports;
mod rollout;
mod table;
mod webhooks;
mod wrk;

use anyhow::{Context, Result, bail};
use clap::Parser;
use windlass_store::{Options, Store};

/// Which benchmarks, against which PostgreSQL.
#[derive(Debug, Parser)]
struct Arguments {
    /// `poll`, `reports`, `rollout`, `webhooks`; all of them without a name.
    names: Vec<String>,
    /// A PostgreSQL server in which databases may be made and dropped.
    #[arg(long, env = "WINDLASS_BENCH_POSTGRES_URL")]
    postgres: String,
    /// Measured pairs of each benchmark.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of load in each run.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Devices known.
    #[arg(long, default_value_t = 100_000)]
    devices: i64,
    /// Where the figures are written as JSON.
    #[arg(long)]
    json: Option<std::path::PathBuf>,
}

/// What every benchmark is given.
struct Bench {
    postgres: String,
    runs: usize,
    seconds: u64,
    devices: i64,
}

impl Bench {
    /// A new database and a store on it.
    async fn database(&self, name: &str) -> Result<Store> {
        // The server's own database is not ours to migrate.
        let admin = Store::connect(&Options::new(self.postgres.clone())).await?;
        let mut session = admin.read().await?;
        session
            .built(format!("DROP DATABASE IF EXISTS {name}"))
            .execute()
            .await?;
        session
            .built(format!("CREATE DATABASE {name}"))
            .execute()
            .await?;
        drop(session);
        admin.close().await;
        let (server, _) = self
            .postgres
            .rsplit_once('/')
            .context("the address names no database")?;
        let mut options = Options::new(format!("{server}/{name}"));
        options.max_connections = 20;
        Ok(Store::open(&options).await?)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let bench = Bench {
        postgres: arguments.postgres,
        runs: arguments.runs,
        seconds: arguments.seconds,
        devices: arguments.devices,
    };
    let names: Vec<&str> = if arguments.names.is_empty() {
        vec!["poll", "reports", "rollout", "webhooks"]
    } else {
        arguments.names.iter().map(String::as_str).collect()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut rows = Vec::new();
        for name in names {
            eprintln!("measuring {name} …");
            rows.extend(match name {
                "poll" => poll::measure(&bench).await?,
                "reports" => reports::measure(&bench).await?,
                "rollout" => rollout::measure(&bench).await?,
                "webhooks" => webhooks::measure(&bench).await?,
                other => bail!(
                    "there is no benchmark {other:?}; there are poll, reports, rollout, webhooks"
                ),
            });
        }
        table::print(&rows);
        if let Some(path) = arguments.json {
            std::fs::write(&path, serde_json::to_vec_pretty(&rows)?)
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    })
}
