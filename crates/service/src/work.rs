//! Background loops: woken by the bus, a timer or the start, they read the store and do what is due.
//! What woke them makes no difference.

use crate::Deps;
use crate::metrics::Metrics;
use crate::problem::chain;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use windlass_types::event::EventType;

/// What a run of a loop found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing more to do now.
    Idle,
    /// There is more; run again at once.
    Again,
    /// Nothing before this much time has passed.
    After(Duration),
}

/// What a run may fail with.
pub type RunError = Box<dyn std::error::Error + Send + Sync>;

type Run =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Next, RunError>> + Send>> + Send + Sync>;

/// A background loop.
pub struct Loop {
    name: &'static str,
    interval: Duration,
    wakes: &'static [EventType],
    run: Run,
}

/// Rings that come one after the other are answered together: a run for a ring begins no sooner than this
/// after the run before it. The first ring after a quiet time is answered at once.
const COLLECT: Duration = Duration::from_millis(10);
/// Waits after a failed run: doubled up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

impl Loop {
    /// A loop that runs at the start, when an event of one of these types rings, and at least once in
    /// `interval`.
    pub fn new<F, R, E>(
        name: &'static str,
        interval: Duration,
        wakes: &'static [EventType],
        run: F,
    ) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<Next, E>> + Send + 'static,
        E: Into<RunError>,
    {
        let run: Run = Box::new(move || {
            let running = run();
            Box::pin(async move { running.await.map_err(Into::into) })
        });
        Self {
            name,
            interval,
            wakes,
            run,
        }
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs until shutdown. A run that has begun is finished.
    pub(crate) async fn drive(self, deps: Deps, metrics: Metrics) {
        // Subscribed before the first reading, so that nothing falls between.
        let mut bell = deps.bus.subscribe();
        let mut backoff = Duration::from_millis(100);
        while !deps.shutdown.is_cancelled() {
            bell.drain();
            let started = Instant::now();
            let result = (self.run)().await;
            metrics
                .loop_seconds
                .with_label_values(&[self.name])
                .observe(started.elapsed().as_secs_f64());
            let wait = match result {
                Ok(next) => {
                    backoff = Duration::from_millis(100);
                    metrics
                        .activations
                        .with_label_values(&[self.name, "ok"])
                        .inc();
                    metrics
                        .last_success
                        .with_label_values(&[self.name])
                        .set(deps.store.clock().now().timestamp_micros() as f64 / 1e6);
                    match next {
                        Next::Again => Duration::ZERO,
                        Next::Idle => self.interval,
                        Next::After(wait) => wait.min(self.interval),
                    }
                }
                Err(error) => {
                    metrics
                        .activations
                        .with_label_values(&[self.name, "error"])
                        .inc();
                    tracing::warn!(
                        loop.name = self.name,
                        error = %chain(&*error),
                        "a run failed and is tried again"
                    );
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                    tokio::select! {
                        () = sleep(backoff) => {}
                        () = deps.shutdown.cancelled() => {}
                    }
                    continue;
                }
            };
            if wait.is_zero() {
                tokio::task::yield_now().await;
                continue;
            }
            let ended = Instant::now();
            let rung = tokio::select! {
                rung = timeout(wait, bell.next_of(self.wakes)) => rung.is_ok(),
                () = deps.shutdown.cancelled() => return,
            };
            if rung {
                sleep_until(ended + COLLECT).await;
            }
        }
    }
}

impl std::fmt::Debug for Loop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loop")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
