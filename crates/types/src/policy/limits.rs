//! How many devices may be on their way at once.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Limits inside a batch: what they do not let through yet waits in its batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Devices of the rollout in flight at most: admitted and not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max_in_flight: Option<u32>,
    /// The same as a share of all its devices, 1 to 100; at least one device.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub max_in_flight_percent: Option<u32>,
    /// How many devices are admitted in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<Ramp>,
    /// By device tag: how many devices with the same value may be unavailable at once, counting
    /// those that any rollout has on its way, that failed and are not back, and that are silent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub max_unavailable: BTreeMap<String, u32>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.max_in_flight.is_none()
            && self.max_in_flight_percent.is_none()
            && self.per_minute.is_none()
            && self.max_unavailable.is_empty()
    }
}

/// An exponential ramp: `base × factor^⌊successes / after_successes⌋` devices a minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Devices a minute at first.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub base: u32,
    /// What the rate is multiplied by at each step, 1 to 10.
    #[serde(default = "double")]
    #[schema(minimum = 1, maximum = 10)]
    pub factor: f64,
    /// How many more healthy devices raise the rate by one step.
    #[schema(minimum = 1)]
    pub after_successes: u32,
    /// Devices a minute at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub max: Option<u32>,
}

const fn double() -> f64 {
    2.0
}
