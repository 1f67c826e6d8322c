//! The task that ships what containers print, where the target asks for it: `config.logs.ship` of the
//! target is `true`, or a list of services by name or as `app/service`.
//!
//! What is read and not shipped yet is bounded: while the server is away, containers' lines wait in the
//! engine. How far each container was shipped is kept on disk.

mod batch;
mod follow;

use crate::backoff::Backoff;
use crate::link::{Line, asked, told};
use crate::machine::Machine;
use crate::state::{self, StateDir};
use batch::{Batch, Entry};
use chrono::{DateTime, Utc};
use follow::Followers;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use windlass_reconcile::view::ServiceView;

/// Whose logs are shipped: the services' names by the engine's ids of their containers.
pub type Shipped = BTreeMap<String, String>;

/// How far each container was shipped.
type Positions = BTreeMap<String, DateTime<Utc>>;

/// Lines that may wait between those who read and the one who ships.
const QUEUE: usize = 256;
/// How long lines are gathered.
const GATHER: Duration = Duration::from_secs(2);
/// Positions are written at most so often: what a crash forgets is shipped twice.
const WRITE: Duration = Duration::from_secs(5);
/// Positions that are kept.
const CONTAINERS: usize = 200;

/// Whose logs a target's `config` asks for.
#[must_use]
pub fn wanted(config: &Map<String, Value>, views: &[ServiceView]) -> Shipped {
    let ship = config.get("logs").and_then(|logs| logs.get("ship"));
    let asks = |view: &ServiceView| match ship {
        Some(Value::Bool(all)) => *all,
        Some(Value::Array(some)) => some
            .iter()
            .filter_map(Value::as_str)
            .any(|name| name == view.name || name == view.key.to_string()),
        _ => false,
    };
    views
        .iter()
        .filter(|view| asks(view))
        .filter_map(|view| Some((view.container.as_ref()?.id.clone(), view.name.clone())))
        .collect()
}

/// The task.
#[derive(Debug)]
pub struct Shipper<M> {
    /// The engine.
    pub machine: Arc<M>,
    /// The way to the server.
    pub line: Arc<Line>,
    /// Whose logs.
    pub shipped: watch::Receiver<Arc<Shipped>>,
    /// Where positions are kept.
    pub state: StateDir,
    /// The longest wait after failures.
    pub longest: Duration,
}

impl<M: Machine> Shipper<M> {
    /// Ships until shutdown.
    pub async fn run(self, shutdown: &CancellationToken) {
        let mut positions = match self.state.read::<Positions>(state::POSITIONS) {
            Ok(kept) => kept.map(|kept| kept.value).unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "it is not known how far logs were shipped");
                Positions::default()
            }
        };
        let (sender, mut entries) = mpsc::channel(QUEUE);
        let mut followers = Followers::new(Arc::clone(&self.machine), sender);
        let mut written = Instant::now();
        let work = async {
            let mut shipped = self.shipped.clone();
            followers.follow(&shipped.borrow_and_update().clone(), &positions);
            loop {
                tokio::select! {
                    changed = shipped.changed() => match changed {
                        Ok(()) => {
                            let wanted = shipped.borrow_and_update().clone();
                            followers.follow(&wanted, &positions);
                        }
                        Err(_) => std::future::pending().await,
                    },
                    Some(entry) = entries.recv() => {
                        let batch = gather(entry, &mut entries).await;
                        self.send(&batch).await;
                        positions.extend(batch.ends());
                        if written.elapsed() >= WRITE {
                            self.keep(&mut positions);
                            written = Instant::now();
                        }
                    }
                }
            }
        };
        shutdown.run_until_cancelled(work).await;
        self.keep(&mut positions);
    }

    /// Sends a batch, for as long as it takes.
    async fn send(&self, batch: &Batch) {
        let identity = &self.line.identity;
        let device = self.line.client.device(identity.uuid, &identity.key);
        let mut backoff = Backoff::new(Duration::from_secs(5).min(self.longest), self.longest);
        loop {
            let mut standing = self.line.standing.subscribe();
            // The sender lives in the line.
            standing.wait_for(|s| s.confirmed).await.ok();
            match device.logs(batch.entries()).await {
                Ok(_) => return,
                Err(error) if matches!(error.status(), Some(400 | 413 | 422)) => {
                    tracing::warn!(error = told(&error), "lines of logs are dropped");
                    return;
                }
                Err(error) => {
                    let wait = backoff.next(asked(&error));
                    tracing::debug!(error = told(&error), "logs were not taken");
                    sleep(wait).await;
                }
            }
        }
    }

    fn keep(&self, positions: &mut Positions) {
        while positions.len() > CONTAINERS {
            let oldest = positions.iter().min_by_key(|(_, at)| **at);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                return;
            };
            positions.remove(&oldest);
        }
        // Not made where nothing was ever shipped.
        if positions.is_empty() {
            return;
        }
        if let Err(error) = self.state.write(state::POSITIONS, positions) {
            tracing::warn!(%error, "how far logs were shipped cannot be kept");
        }
    }
}

async fn gather(first: Entry, entries: &mut mpsc::Receiver<Entry>) -> Batch {
    let until = Instant::now() + GATHER;
    let mut batch = Batch::of(&first);
    while !batch.is_full() {
        match timeout_at(until, entries.recv()).await {
            Ok(Some(entry)) => batch.add(&entry),
            Ok(None) | Err(_) => break,
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use windlass_reconcile::spec::ServiceKey;
    use windlass_reconcile::view::{Phase, ViewedContainer};

    fn view(service: i64, name: &str) -> ServiceView {
        ServiceView {
            key: ServiceKey { app: 7, service },
            name: name.to_owned(),
            app_name: "demo".to_owned(),
            wanted_image: None,
            container: Some(ViewedContainer {
                id: format!("id-{name}"),
                image: String::new(),
                status: "running".to_owned(),
                digest: None,
                restarts: 0,
            }),
            phase: Phase::Running,
            health: None,
            error: None,
            waits: None,
        }
    }

    #[test]
    fn logs_are_shipped_of_whom_the_target_names() {
        let views = [view(1, "web"), view(2, "worker")];
        let of = |config: Value| {
            let shipped = wanted(config.as_object().unwrap(), &views);
            shipped.into_values().collect::<Vec<_>>()
        };
        assert_eq!(of(json!({"logs": {"ship": true}})), ["web", "worker"]);
        assert_eq!(of(json!({"logs": {"ship": ["7/2"]}})), ["worker"]);
        assert_eq!(of(json!({"logs": {"ship": ["web"]}})), ["web"]);
        for none in [
            json!({}),
            json!({"logs": true}),
            json!({"logs": {"ship": false}}),
        ] {
            assert!(of(none).is_empty());
        }
    }
}
