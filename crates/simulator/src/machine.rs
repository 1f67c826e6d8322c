//! A device without a network: whoever holds it moves its time on and carries its reports.

use crate::behaviour::{Behaviour, Style};
use crate::model::Model;
use crate::record::{Running, Started};
use crate::report::{replayed, report};
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_types::ids::DeviceId;
use windlass_types::target::TargetState;

/// A device that is driven by hand. Equal seeds and calls give equal devices.
#[derive(Debug)]
pub struct Machine {
    uuid: DeviceId,
    model: Model,
}

impl Machine {
    /// A device that runs nothing yet.
    #[must_use]
    pub fn new(uuid: DeviceId, behaviour: Behaviour, seed: u64) -> Self {
        Self {
            uuid,
            model: Model::new(behaviour, fastrand::Rng::with_seed(seed)),
        }
    }

    /// Takes a target; what was under way for an older one is given up.
    pub fn take(&mut self, version: i64, state: &TargetState) {
        self.model.take(version, state);
    }

    /// The target version it took last.
    #[must_use]
    pub const fn version(&self) -> i64 {
        self.model.version
    }

    /// The agent it seems to run.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.model.style()
    }

    /// How long until the next step, counted from the last one, where there is one.
    #[must_use]
    pub fn next_in(&self) -> Option<Duration> {
        self.model.next_in()
    }

    /// Takes the next step; returns whether there is something to report.
    pub fn step(&mut self) -> bool {
        self.model.step()
    }

    /// What it reports at this time: the body of the request, with its uuid as the only key.
    pub fn report(&mut self, now: DateTime<Utc>) -> Value {
        report(self.uuid, &mut self.model, now)
    }

    /// That report when it is sent again later.
    #[must_use]
    pub fn replayed(&self, report: Value) -> Value {
        replayed(report, self.model.style())
    }

    /// What it runs, by service name.
    #[must_use]
    pub fn running(&self) -> BTreeMap<String, Running> {
        self.model.running()
    }

    /// Every container that a target made it start, in order.
    #[must_use]
    pub fn started(&self) -> &[Started] {
        &self.model.started
    }

    /// Whether it has gone silent by itself.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.model.silent
    }
}
