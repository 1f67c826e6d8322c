//! What the device side counts. Labels are bounded.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Metrics of the device side.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Reports by what became of them.
    pub(crate) reports: IntCounterVec,
    /// Reports written together.
    pub(crate) group: Histogram,
    /// Devices looked up by one statement.
    lookups: HistogramVec,
    /// Devices in memory.
    pub(crate) devices: IntGauge,
    /// Devices whose poll is held.
    pub(crate) waiting: IntGauge,
    /// Log lines that were stored.
    pub(crate) log_lines: IntCounter,
}

/// Bounds of groups: of one, and of a few up to a thousand.
const GROUPS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0];

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Where a name is not valid: a fault of the program.
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            reports: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "windlass_device_reports_total",
                        "Reports of devices by what became of them.",
                    ),
                    &["outcome"],
                )?,
            ),
            group: register(
                registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "windlass_device_report_group_size",
                        "Reports that were written in one transaction.",
                    )
                    .buckets(GROUPS.to_vec()),
                )?,
            ),
            lookups: register(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "windlass_device_lookup_group_size",
                        "Devices that were looked up in the store by one statement.",
                    )
                    .buckets(GROUPS.to_vec()),
                    &["what"],
                )?,
            ),
            devices: register(
                registry,
                IntGauge::new("windlass_devices_cached", "Devices held in memory.")?,
            ),
            waiting: register(
                registry,
                IntGauge::new(
                    "windlass_devices_waiting",
                    "Devices whose poll is held until their target changes.",
                )?,
            ),
            log_lines: register(
                registry,
                IntCounter::new(
                    "windlass_device_log_lines_total",
                    "Lines of devices' logs that were stored.",
                )?,
            ),
        })
    }

    /// Where look-ups of one kind are counted.
    pub(crate) fn lookups(&self, what: &str) -> Histogram {
        self.lookups.with_label_values(&[what])
    }
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> M {
    if let Err(error) = registry.register(Box::new(metric.clone())) {
        tracing::debug!(%error, "a metric is registered twice");
    }
    metric
}
