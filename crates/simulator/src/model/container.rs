//! A container of a simulated device.

use crate::failure::Probe;
use serde_json::{Map, Value};

/// A container as the device's engine would show it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Container {
    pub(crate) app_name: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) config: Map<String, Value>,
    /// Ours only: the step, and what went wrong.
    pub(crate) phase: &'static str,
    pub(crate) error: Option<(&'static str, &'static str)>,
    pub(crate) retries: i64,
    /// What its probes say, where they do not pass.
    pub(crate) probe: Option<Probe>,
    /// Whether it has run long enough for its probes to pass.
    pub(crate) settled: bool,
}

impl Container {
    /// What our agent tells of its probes, where it has any.
    pub(crate) fn health(&self) -> Option<&'static str> {
        let probed = self.config.keys().any(|key| key.ends_with("Probe"));
        if self.status != "running" || !(probed || self.probe.is_some()) {
            return None;
        }
        Some(match self.probe {
            None if self.settled => "healthy",
            None | Some(Probe::Hangs) => "starting",
            Some(Probe::Fails | Probe::Refuses) => "unhealthy",
        })
    }
}
