//! What every benchmark is given.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use windlass_store::{Options, Store};

/// What every benchmark is given.
#[derive(Debug)]
pub(crate) struct Bench {
    /// A PostgreSQL server in which databases may be made and dropped.
    pub(crate) postgres: String,
    /// A Redis server, where there is one: see [`Bench::redis`].
    pub(crate) redis: Option<String>,
    /// Measured pairs.
    pub(crate) runs: usize,
    /// Seconds of load in each run.
    pub(crate) seconds: u64,
    /// Devices known, where the benchmark does not ask for a number of its own.
    pub(crate) devices: i64,
    /// A folder for the logs of the programs that are measured from outside.
    pub(crate) logs: Option<PathBuf>,
    /// The process whose descendants are ours.
    pub(crate) family: u32,
}

impl Bench {
    /// A new database and a store on it.
    pub(crate) async fn database(&self, name: &str) -> Result<Store> {
        let mut options = Options::new(self.database_url(name).await?);
        options.max_connections = 20;
        Ok(Store::open(&options).await?)
    }

    /// The address of a new, empty database.
    pub(crate) async fn database_url(&self, name: &str) -> Result<String> {
        // The server's own database is not ours to migrate.
        let admin = Store::connect(&Options::new(self.postgres.clone())).await?;
        let mut session = admin.read().await?;
        session
            .built(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
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
        Ok(format!("{server}/{name}"))
    }

    /// The address of Redis.
    pub(crate) fn redis(&self) -> Result<&str> {
        self.redis
            .as_deref()
            .context("no Redis is named: give --redis, or run scripts/bench, which brings one")
    }

    /// A program that was built beside this one.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let path = std::env::current_exe()?.with_file_name(name);
        if !path.exists() {
            bail!("{} is missing: scripts/bench builds it", path.display());
        }
        Ok(path)
    }
}
