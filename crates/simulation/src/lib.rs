//! The seeded simulation: real services on a real store, on virtual time, with faults.
//!
//! * Owns: worlds drawn from a seed, and the laws that each transaction in them is held against.
//! * Never: runs outside tests. It writes to the store only as devices, registries and people would.
//! * Woken by: nothing; `scripts/simulate` and the tests call it.
//! * Test it with: `cargo test -p windlass-simulation`; replay with `scripts/simulate --seed N --trace`.
//!
//! See docs/simulation.md.

mod broken;
mod dice;
mod draw;
mod ended;
mod fleet;
mod images;
mod ledger;
mod model;
mod open;
mod operators;
mod passes;
mod plant;
mod run;
mod turns;
mod world;

pub use broken::{Broken, Law};
pub use plant::Plant;

use chrono::{DateTime, Utc};
use std::path::Path;
use windlass_store::{Clock, Ids, Kind, Options, Store};
use world::World;

/// How a run is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Devices at most.
    pub most_devices: Option<u64>,
    /// Rules without gates: no limits, windows, start times, approvals and freezes.
    pub plain: bool,
    /// Whether the run ends with the trouble, without the calm after which everything must end.
    pub safety_only: bool,
    /// A fault planted on purpose.
    pub plant: Option<Plant>,
    /// Whether each step and event is printed as it happens.
    pub trace: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The law that was broken, where one was.
    pub broken: Option<Broken>,
    /// The last steps.
    pub steps: Vec<String>,
    /// The last events.
    pub events: Vec<String>,
    /// Transactions that were held against the laws.
    pub transactions: u64,
    /// Events appended.
    pub events_appended: u64,
    /// Rollouts made.
    pub rollouts: usize,
    /// Devices.
    pub devices: usize,
    /// What the log and the rows came to, for comparing two runs of one seed.
    pub fingerprint: String,
}

/// Worlds one after the other, in one database that is emptied between them: its connections and their
/// statements stay.
#[derive(Debug)]
pub struct Simulation {
    store: Store,
    /// Deletes all that is in it.
    empty: String,
    /// The database made for it, which goes when this does.
    _folder: Option<tempfile::TempDir>,
}

/// Wednesday, so that windows of every kind come up.
const BEGINNING: &str = "2024-05-15T08:00:00Z";

impl Simulation {
    /// Makes the database that each world begins with.
    ///
    /// # Errors
    /// Where the database cannot be made.
    pub async fn new() -> anyhow::Result<Self> {
        // In memory where the system has such a folder.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }?;
        let path = folder.path().join("world.db");
        let options = Options {
            durable: false,
            ..Options::new(format!("sqlite:{}", path.display()))
        };
        let mut simulation = Self::on(Store::open(&options).await?).await?;
        simulation._folder = Some(folder);
        Ok(simulation)
    }

    /// The same in this database, whatever is in it: all of that goes.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn on(store: Store) -> anyhow::Result<Self> {
        let mut read = store.read().await?;
        let tables: Vec<(String,)> = match store.kind() {
            Kind::Sqlite => read.sql(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> '_sqlx_migrations' \
                 AND (name NOT LIKE 'sqlite_%' OR name = 'sqlite_sequence') ORDER BY name",
            ),
            Kind::Postgres => read.sql(
                "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() \
                 AND tablename <> '_sqlx_migrations' ORDER BY tablename",
            ),
        }
        .all()
        .await?;
        drop(read);
        let names: Vec<&str> = tables.iter().map(|(name,)| name.as_str()).collect();
        let empty = match store.kind() {
            // Rows go in the order of tables' names; together they leave nothing that refers to another.
            Kind::Sqlite => names
                .iter()
                .map(|name| format!("DELETE FROM {name};"))
                .collect(),
            Kind::Postgres => format!("TRUNCATE {} RESTART IDENTITY", names.join(", ")),
        };
        Ok(Self {
            store,
            empty,
            _folder: None,
        })
    }

    /// Leaves nothing of the world before.
    async fn begin_anew(&self) -> anyhow::Result<()> {
        let mut tx = self.store.begin().await?;
        if tx.kind() == Kind::Sqlite {
            tx.sql("PRAGMA defer_foreign_keys = ON").execute().await?;
        }
        tx.built(self.empty.clone()).execute().await?;
        tx.commit().await?;
        Ok(())
    }

    /// Runs the world of this seed.
    ///
    /// # Errors
    /// Where the world cannot be made; a broken law is an outcome, not an error.
    pub async fn run(&self, seed: u64, settings: &Settings) -> anyhow::Result<Outcome> {
        self.begin_anew().await?;
        let beginning: DateTime<Utc> = BEGINNING.parse()?;
        let clock = Clock::manual(beginning);
        let ids = Ids::seeded(dice::child(seed, "ids"));
        let store = self.store.with(clock.clone(), ids);
        let most = settings.most_devices.unwrap_or(u64::MAX);
        let mut world = World::new(seed, store, clock, most, settings.plain).await?;
        world.plant = settings.plant;
        world.trace = settings.trace;
        let broken = run::run(&mut world, settings.safety_only).await.err();
        let outcome = Outcome {
            broken,
            steps: world.steps.iter().cloned().collect(),
            events: world.ledger.last.iter().cloned().collect(),
            transactions: world.transactions,
            events_appended: world.ledger.events,
            rollouts: world.ledger.rollouts.len(),
            devices: world.fleet.len(),
            fingerprint: format!("{:?} {:?}", world.ledger.model, world.ledger.last),
        };
        Ok(outcome)
    }
}
