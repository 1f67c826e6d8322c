//! Metrics that every service has. Labels are bounded: no device, rollout or image ids.

use actix_web::HttpResponse;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

/// Upper bounds in seconds: a 304 takes microseconds, a long poll a minute.
const BUCKETS: &[f64] = &[
    0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// Registers a metric, or returns the one of this name that is there already: in `windlass up` every
/// service shares one registry.
fn register<M: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: M) -> M {
    if let Err(error) = registry.register(Box::new(metric.clone())) {
        tracing::debug!(%error, "a metric is registered twice");
    }
    metric
}

/// What HTTP requests and loops count.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Requests by service, method, route and status.
    pub requests: IntCounterVec,
    /// How long they took.
    pub request_seconds: HistogramVec,
    /// Runs of loops by loop and outcome.
    pub activations: IntCounterVec,
    /// How long they took.
    pub loop_seconds: HistogramVec,
    /// When each loop last succeeded, as a Unix time.
    pub last_success: prometheus::GaugeVec,
    /// 1 while the bus is connected.
    pub bus_connected: IntGauge,
}

impl Metrics {
    /// Registers them. Call once for each registry.
    ///
    /// # Errors
    /// Where a name or label is not valid: a fault of the program.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: register(
                registry,
                IntCounterVec::new(
                    Opts::new("windlass_http_requests_total", "HTTP requests answered."),
                    &["method", "route", "status"],
                )?,
            ),
            request_seconds: register(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "windlass_http_request_duration_seconds",
                        "Time to answer an HTTP request.",
                    )
                    .buckets(BUCKETS.to_vec()),
                    &["method", "route"],
                )?,
            ),
            activations: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "windlass_loop_activations_total",
                        "Runs of background loops.",
                    ),
                    &["loop", "outcome"],
                )?,
            ),
            loop_seconds: register(
                registry,
                HistogramVec::new(
                    HistogramOpts::new("windlass_loop_duration_seconds", "Time a run took.")
                        .buckets(BUCKETS.to_vec()),
                    &["loop"],
                )?,
            ),
            last_success: register(
                registry,
                prometheus::GaugeVec::new(
                    Opts::new(
                        "windlass_loop_last_success_timestamp_seconds",
                        "When a loop last succeeded.",
                    ),
                    &["loop"],
                )?,
            ),
            bus_connected: register(
                registry,
                IntGauge::new(
                    "windlass_bus_connected",
                    "1 while the bus delivers wake-ups.",
                )?,
            ),
        })
    }
}

/// The registry in Prometheus' text format.
pub(crate) fn render(registry: &Registry) -> HttpResponse {
    let mut buffer = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut buffer) {
        Ok(()) => HttpResponse::Ok()
            .content_type("text/plain; version=0.0.4")
            .body(buffer),
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}
