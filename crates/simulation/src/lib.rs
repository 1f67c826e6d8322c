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

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use std::path::{Path, PathBuf};
use windlass_store::{Clock, Ids, Options, Store};
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

/// Worlds one after the other, each in a database of its own.
#[derive(Debug)]
pub struct Simulation {
    folder: tempfile::TempDir,
    template: Vec<u8>,
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
        let path = folder.path().join("template.db");
        let store = Store::open(&options(&path, 0, &Clock::System)).await?;
        store.close().await;
        let template = std::fs::read(&path).context("the migrated database")?;
        Ok(Self { folder, template })
    }

    /// Runs the world of this seed.
    ///
    /// # Errors
    /// Where the world cannot be made; a broken law is an outcome, not an error.
    pub async fn run(&self, seed: u64, settings: &Settings) -> anyhow::Result<Outcome> {
        let path: PathBuf = self.folder.path().join(format!("{seed}.db"));
        std::fs::write(&path, &self.template)?;
        let beginning: DateTime<Utc> = BEGINNING.parse()?;
        let clock = Clock::manual(beginning);
        let store = Store::connect(&options(&path, seed, &clock)).await?;
        let most = settings.most_devices.unwrap_or(u64::MAX);
        let mut world = World::new(seed, store.clone(), clock, most, settings.plain).await?;
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
        drop(world);
        store.close().await;
        for end in ["", "-wal", "-shm"] {
            // What is not there need not be removed.
            std::fs::remove_file(format!("{}{end}", path.display())).ok();
        }
        Ok(outcome)
    }
}

fn options(path: &Path, seed: u64, clock: &Clock) -> Options {
    Options {
        clock: clock.clone(),
        ids: Ids::seeded(dice::child(seed, "ids")),
        durable: false,
        ..Options::new(format!("sqlite:{}", path.display()))
    }
}
