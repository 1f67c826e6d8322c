//! The kit every service starts from: configuration, HTTP scaffold, problems, loops and
//! shutdown.
//!
//! * Owns: what is the same in every service, and nothing of what any of them is for.
//! * Never: decides about images, devices or rollouts.
//! * Woken by: [`work::Loop`]s ring on the bus, on a timer, and once at the start.
//! * Test it with: `scripts/test -p windlass-service`.
//!
//! A service is a [`Part`]: routes and loops. [`serve`] runs any number of parts on one listener; the
//! five services run one each, `windlass up` runs all of them.

pub mod config;
mod connections;
mod healthcheck;
pub mod http;
pub mod keys;
pub mod metrics;
pub mod problem;
pub mod registries;
mod start;
pub mod work;

pub use connections::{listen, open_files};
pub use http::{Part, Route, ServeError, serve};
pub use problem::Problem;
pub use start::{StartError, cancel_on_signal, main_with};

use tokio_util::sync::CancellationToken;
use windlass_bus::Bus;
use windlass_store::{Session, Store};

/// What every service works with. Clones share.
#[derive(Debug, Clone)]
pub struct Deps {
    /// The truth.
    pub store: Store,
    /// Wake-ups.
    pub bus: Bus,
    /// Where metrics are registered.
    pub metrics: prometheus::Registry,
    /// Told when the process is to end.
    pub shutdown: CancellationToken,
}

impl Deps {
    /// A store and a bus, with metrics and shutdown of their own.
    #[must_use]
    pub fn new(store: Store, bus: Bus) -> Self {
        Self {
            store,
            bus,
            metrics: prometheus::Registry::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Commits, then publishes what the transaction appended.
    ///
    /// # Errors
    /// What the store says; then nothing was done and nothing is published.
    pub async fn commit(&self, session: Session) -> windlass_store::Result<()> {
        self.bus.publish(session.commit().await?);
        Ok(())
    }
}
