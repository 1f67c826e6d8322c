//! When a rollout pauses by itself, and what happens to the devices that failed.

use crate::text_enum::text_enum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

text_enum! {
    /// What happens when a rollout is beyond its failure budget, beside pausing it.
    FailureAction {
        /// Nothing more.
        Pause = "pause",
        /// The failed devices are put back, also where `auto_rollback` is off.
        RollbackFailed = "rollback_failed",
        /// The devices of the present batch are put back.
        RollbackBatch = "rollback_batch",
        /// All devices of the rollout are put back, and it ends.
        RollbackAll = "rollback_all",
    }
}

/// How often a device that failed for a reason that is not the image's is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryRule {
    /// Retries of one device at most.
    #[schema(maximum = 100)]
    pub budget: u32,
    /// How long to wait before the first, in seconds; doubled for each further one, up to an hour.
    #[schema(minimum = 1, maximum = 3600)]
    pub backoff_seconds: u32,
}

impl Default for RetryRule {
    fn default() -> Self {
        Self {
            budget: 3,
            backoff_seconds: 60,
        }
    }
}

/// When a rollout pauses by itself, and what happens to the devices that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FailureRule {
    /// The share of attempted devices (completed or failed) that may fail, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub max_failure_rate: f64,
    /// The same inside one batch, where it is to be another than over the whole rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub max_batch_failure_rate: Option<f64>,
    /// How many devices must have been attempted before a share counts inside a batch; at the end
    /// of a batch it always counts.
    #[schema(minimum = 1)]
    pub min_sample: u32,
    /// How many failures in a row pause the rollout; 0 turns this off.
    pub max_consecutive_failures: u32,
    /// The share of admitted devices that may go silent after they took up the image, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub max_silent_rate: f64,
    /// The share of admitted devices that may fail for reasons that are not the image's (registry,
    /// network, disk), after their retries, 0 to 1. It pauses the rollout and condemns no image.
    #[schema(minimum = 0, maximum = 1)]
    pub max_environment_failure_rate: f64,
    /// How often such devices are tried again.
    pub retry: RetryRule,
    /// What happens when a budget is used up.
    pub action: FailureAction,
    /// Whether a failed device is put back on its own last good image.
    pub auto_rollback: bool,
    /// How long a device may take to get back, in seconds.
    #[schema(minimum = 1, maximum = 604_800)]
    pub rollback_timeout_seconds: u32,
    /// Devices of the rollout on their way back at most, so that a rollback is no stampede.
    #[schema(minimum = 1)]
    pub rollback_max_in_flight: u32,
    /// A device tag, such as the hardware model: the budget is then also kept for each of its values,
    /// and a digest that is beyond it for one value is put into quarantine for that value alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub quarantine_by: Option<String>,
}

impl Default for FailureRule {
    fn default() -> Self {
        Self {
            max_failure_rate: 0.2,
            max_batch_failure_rate: None,
            min_sample: 5,
            max_consecutive_failures: 3,
            max_silent_rate: 0.2,
            max_environment_failure_rate: 0.5,
            retry: RetryRule::default(),
            action: FailureAction::Pause,
            auto_rollback: true,
            rollback_timeout_seconds: 600,
            // As many as a middling registry serves at once without being asked to slow down.
            rollback_max_in_flight: 500,
            quarantine_by: None,
        }
    }
}
