//! What the planner counts.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, Result};
use windlass_types::rollout::RolloutStatus;

/// The planner's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// What became of versions and triggers, by decision.
    pub(crate) decisions: IntCounterVec,
    /// Steps of rollouts, by step.
    pub(crate) steps: IntCounterVec,
    /// Devices whose target was moved by a batch.
    pub(crate) admitted: IntCounter,
    /// Transactions given up because another replica was first.
    pub(crate) conflicts: IntCounter,
    /// Rollouts that have not ended, by status.
    pub(crate) active: IntGaugeVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// Where a name is taken or not valid: a fault of the program.
    pub fn new(registry: &Registry) -> Result<Self> {
        Ok(Self {
            decisions: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "windlass_planner_decisions_total",
                        "Pushed versions and triggers that were decided about.",
                    ),
                    &["decision"],
                )?,
            )?,
            steps: register(
                registry,
                IntCounterVec::new(
                    Opts::new("windlass_planner_steps_total", "Steps of rollouts."),
                    &["step"],
                )?,
            )?,
            admitted: register(
                registry,
                IntCounter::new(
                    "windlass_planner_devices_admitted_total",
                    "Devices whose target was moved to a rollout's image.",
                )?,
            )?,
            conflicts: register(
                registry,
                IntCounter::new(
                    "windlass_planner_conflicts_total",
                    "Transactions given up because another replica was first.",
                )?,
            )?,
            active: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "windlass_planner_active_rollouts",
                        "Rollouts that have not ended.",
                    ),
                    &["status"],
                )?,
            )?,
        })
    }

    /// Shows how many rollouts stand where; a status without any shows 0.
    pub(crate) fn show_active(&self, counts: &[(RolloutStatus, i64)]) {
        for status in RolloutStatus::ALL
            .iter()
            .filter(|status| !status.is_final())
        {
            let found = counts.iter().find(|(counted, _)| counted == status);
            self.active
                .with_label_values(&[status.as_str()])
                .set(found.map_or(0, |(_, rollouts)| *rollouts));
        }
    }
}

fn register<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
