//! How long a device has been there, when it comes and goes.

use super::Facts;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// The time that a device has had so far, apart from its silences. It is kept in the evidence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Presence {
    /// How long it was there before it fell silent the last time, in whole seconds.
    pub before_seconds: i64,
    /// When it came back; none where it was not away since it was admitted.
    pub back_at: Option<DateTime<Utc>>,
}

impl Presence {
    /// What is written in evidence.
    #[must_use]
    pub fn read(evidence: Option<&Value>) -> Self {
        let written = |name: &str| evidence.and_then(|e| e.pointer("/presence")?.get(name));
        Self {
            before_seconds: written("before_seconds")
                .and_then(Value::as_i64)
                .unwrap_or_default()
                .max(0),
            back_at: written("back_at")
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok()),
        }
    }

    pub(super) fn write(self) -> Value {
        json!({"before_seconds": self.before_seconds, "back_at": self.back_at})
    }

    /// The same once the device is silent: what it was seen for is added, and not the silence.
    pub(super) fn ended(self, facts: &Facts<'_>) -> Self {
        let from = self.back_at.unwrap_or(facts.admitted_at);
        let there = facts.seen().map_or(TimeDelta::zero(), |at| at - from);
        Self {
            before_seconds: self.before_seconds + there.num_seconds().max(0),
            back_at: self.back_at,
        }
    }

    /// What is left to it of a deadline.
    pub(super) fn left(self, deadline: TimeDelta) -> TimeDelta {
        (deadline - TimeDelta::seconds(self.before_seconds)).max(TimeDelta::zero())
    }
}
