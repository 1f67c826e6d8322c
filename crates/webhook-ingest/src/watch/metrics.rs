//! What the watch counts.

use prometheus::{IntCounterVec, Opts, Registry};

/// Its metrics. Labels are bounded: kinds of answers, registries in use, endpoints configured.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Looks by what came of them.
    pub(crate) looks: IntCounterVec,
    /// Pushes that were found first by looking.
    pub(crate) found: IntCounterVec,
    /// Of these, webhooks that did not come.
    pub(crate) missed: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Where they are registered already or not valid: a fault of the program.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, label: &str| -> prometheus::Result<IntCounterVec> {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Self {
            looks: counter(
                "windlass_watch_looks_total",
                "Looks at repositories, by what came of them.",
                "answer",
            )?,
            found: counter(
                "windlass_watch_found_total",
                "Pushes found by looking before any webhook told of them, by registry.",
                "registry",
            )?,
            missed: counter(
                "windlass_watch_missed_webhooks_total",
                "Pushes found by looking that no webhook told of, by the endpoint that should have.",
                "endpoint",
            )?,
        })
    }
}
