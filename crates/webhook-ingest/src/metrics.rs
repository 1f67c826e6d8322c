//! What webhook-ingest counts.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Its metrics. Labels are bounded: senders, decisions and kinds of answers.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Deliveries by sender and by what became of them.
    pub(crate) deliveries: IntCounterVec,
    /// The same by endpoint, decision and reason.
    endpoints: IntCounterVec,
    /// When an endpoint saw something last, by decision.
    last: IntGaugeVec,
    /// Questions to registries by answer.
    pub(crate) questions: IntCounterVec,
    /// What the watch counts.
    pub(crate) watch: crate::watch::Metrics,
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
        let endpoints = IntCounterVec::new(
            Opts::new(
                "windlass_webhook_endpoint_deliveries_total",
                "Webhook deliveries by endpoint, by what became of them, and by why they were ignored.",
            ),
            &["endpoint", "decision", "reason"],
        )?;
        let last = IntGaugeVec::new(
            Opts::new(
                "windlass_webhook_endpoint_last_timestamp_seconds",
                "When this became of a delivery to this endpoint last, in this process.",
            ),
            &["endpoint", "decision"],
        )?;
        let questions = IntCounterVec::new(
            Opts::new(
                "windlass_registry_questions_total",
                "Digests asked for at registries, by the answer.",
            ),
            &["answer"],
        )?;
        registry.register(Box::new(deliveries.clone()))?;
        registry.register(Box::new(endpoints.clone()))?;
        registry.register(Box::new(last.clone()))?;
        registry.register(Box::new(questions.clone()))?;
        Ok(Self {
            deliveries,
            endpoints,
            last,
            questions,
            watch: crate::watch::Metrics::new(registry)?,
        })
    }

    /// One delivery more to an endpoint. Endpoints are those of the configuration.
    pub(crate) fn endpoint(&self, endpoint: &str, decision: &str, reason: &str) {
        self.endpoints
            .with_label_values(&[endpoint, decision, reason])
            .inc();
        self.last
            .with_label_values(&[endpoint, decision])
            .set(chrono::Utc::now().timestamp());
    }

    /// One delivery more.
    pub(crate) fn delivery(&self, sender: Option<&str>, decision: &str) {
        self.deliveries
            .with_label_values(&[sender.unwrap_or("unknown"), decision])
            .inc();
    }
}
