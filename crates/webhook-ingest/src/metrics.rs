//! What webhook-ingest counts.

use prometheus::{IntCounterVec, Opts, Registry};

/// Its metrics. Labels are bounded: senders, decisions and kinds of answers.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Deliveries by sender and by what became of them.
    pub(crate) deliveries: IntCounterVec,
    /// Questions to registries by answer.
    pub(crate) questions: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Where they are registered already or not valid: a fault of the program.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let deliveries = IntCounterVec::new(
            Opts::new(
                "windlass_webhook_deliveries_total",
                "Webhook deliveries by sender and by what became of them.",
            ),
            &["sender", "decision"],
        )?;
        let questions = IntCounterVec::new(
            Opts::new(
                "windlass_registry_questions_total",
                "Digests asked for at registries, by the answer.",
            ),
            &["answer"],
        )?;
        registry.register(Box::new(deliveries.clone()))?;
        registry.register(Box::new(questions.clone()))?;
        Ok(Self {
            deliveries,
            questions,
        })
    }

    /// One delivery more.
    pub(crate) fn delivery(&self, sender: Option<&str>, decision: &str) {
        self.deliveries
            .with_label_values(&[sender.unwrap_or("unknown"), decision])
            .inc();
    }
}
