//! What wakes the loop: the engine's events, and times.

use futures_util::StreamExt as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use windlass_engine::Engine;

/// How often an engine that is away is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows an engine's events until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    engine: Arc<Engine>,
    labels: Vec<String>,
    changed: Arc<Notify>,
    task: OnceLock<AbortHandle>,
}

impl Watch {
    pub(super) fn new(engine: Arc<Engine>, labels: Vec<String>, changed: Arc<Notify>) -> Self {
        Self {
            engine,
            labels,
            changed,
            task: OnceLock::new(),
        }
    }

    /// Begins, where it has not begun: before the first look, so that nothing falls between the two.
    pub(super) fn begin(&self) {
        self.task.get_or_init(|| {
            let follow = follow(
                Arc::clone(&self.engine),
                self.labels.clone(),
                Arc::clone(&self.changed),
            );
            tokio::spawn(follow).abort_handle()
        });
    }

    /// Wakes the loop after a time.
    pub(super) fn again_in(&self, time: Duration) {
        let changed = Arc::clone(&self.changed);
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            changed.notify_one();
        });
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

async fn follow(engine: Arc<Engine>, labels: Vec<String>, changed: Arc<Notify>) {
    loop {
        if let Ok(mut events) = engine.events(&labels).await {
            // The engine is there, or there again.
            changed.notify_one();
            while let Some(Ok(event)) = events.next().await {
                // Programs in containers come and go with every probe; they change nothing.
                if !event.action.starts_with("exec_") {
                    changed.notify_one();
                }
            }
            // What was just cut off may have ended what ran.
            changed.notify_one();
        }
        tokio::time::sleep(AGAIN).await;
    }
}
