//! One reader for each container whose logs are shipped.

use super::batch::Entry;
use super::{Positions, Shipped};
use crate::backoff::Backoff;
use crate::machine::Machine;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How much of a container's past is shipped where it is not known how far it was.
const PAST: TimeDelta = TimeDelta::hours(1);
/// How long to wait before a container that ended, or whose engine is away, is read again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The readers.
#[derive(Debug)]
pub(super) struct Followers<M> {
    machine: Arc<M>,
    sender: mpsc::Sender<Entry>,
    readers: BTreeMap<String, JoinHandle<()>>,
}

impl<M: Machine> Followers<M> {
    pub(super) const fn new(machine: Arc<M>, sender: mpsc::Sender<Entry>) -> Self {
        Self {
            machine,
            sender,
            readers: BTreeMap::new(),
        }
    }

    /// Reads these and no others.
    pub(super) fn follow(&mut self, wanted: &Shipped, positions: &Positions) {
        self.readers.retain(|container, reader| {
            let keep = wanted.contains_key(container);
            if !keep {
                reader.abort();
            }
            keep
        });
        for (container, service) in wanted {
            if self.readers.contains_key(container) {
                continue;
            }
            let after = positions.get(container).copied();
            let reader = follow(
                Arc::clone(&self.machine),
                self.sender.clone(),
                container.clone(),
                service.clone(),
                after.unwrap_or_else(|| Utc::now() - PAST),
            );
            self.readers.insert(container.clone(), tokio::spawn(reader));
        }
    }
}

impl<M> Drop for Followers<M> {
    fn drop(&mut self) {
        for reader in self.readers.values() {
            reader.abort();
        }
    }
}

async fn follow<M: Machine>(
    machine: Arc<M>,
    sender: mpsc::Sender<Entry>,
    container: String,
    service: String,
    mut after: DateTime<Utc>,
) {
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        let mut lines = machine.logs(&container, Some(after));
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) => {
                    backoff.reset();
                    after = after.max(line.at);
                    let entry = Entry {
                        container: container.clone(),
                        service: service.clone(),
                        line,
                    };
                    if sender.send(entry).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(container, %error, "logs cannot be read");
                    break;
                }
            }
        }
        sleep(backoff.next(None)).await;
    }
}
