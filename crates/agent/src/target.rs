//! The target as it is kept: what the device was told last.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use windlass_types::ids::DeviceId;
use windlass_types::target::TargetState;

/// A target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its version.
    pub version: i64,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    /// What is to run.
    pub state: TargetState,
}

/// Why an answer of the server is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what the server sent is no target: {0}")]
pub struct NoTarget(pub String);

impl Target {
    /// Reads the body of a poll: `{"<uuid>": {"apps", "config", "version", …}}`.
    ///
    /// # Errors
    /// [`NoTarget`] where it is not the device's, has no apps or no version: nothing is what is wanted
    /// then, which is not the same as wanting nothing.
    pub fn read(body: &Value, uuid: DeviceId, now: DateTime<Utc>) -> Result<Self, NoTarget> {
        let no = |text: &str| NoTarget(text.to_owned());
        let of = body
            .get(uuid.to_string())
            .ok_or_else(|| no("it does not name this device"))?;
        if !of.get("apps").is_some_and(Value::is_object) {
            return Err(no("apps is missing or no object"));
        }
        let version = of
            .get("version")
            .and_then(Value::as_i64)
            .ok_or_else(|| no("version is missing or no number"))?;
        let state = TargetState::deserialize(of).map_err(|error| NoTarget(error.to_string()))?;
        Ok(Self {
            version,
            taken_at: now,
            state,
        })
    }

    /// Whether this says the same as another.
    #[must_use]
    pub fn says_as(&self, other: &Self) -> bool {
        self.version == other.version && self.state == other.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const UUID: &str = "3f0e0c9e-6a52-4b7e-9b38-0d7a4f6b2a11";

    fn read(of: &Value) -> Result<Target, NoTarget> {
        let uuid = UUID.parse().unwrap();
        Target::read(&json!({ UUID: of }), uuid, DateTime::UNIX_EPOCH)
    }

    #[test]
    fn an_answer_without_apps_or_a_version_is_no_target_that_wants_nothing() {
        let good = read(&json!({"apps": {}, "config": {}, "version": 3})).unwrap();
        assert_eq!((good.version, good.state.apps.len()), (3, 0));
        for bad in [
            json!({}),
            json!(null),
            json!({"version": 3}),
            json!({"apps": [], "version": 3}),
            json!({"apps": {}}),
            json!({"apps": {}, "version": "3"}),
            json!({"apps": {"1": {"appId": 1}}, "version": 3}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
        let other = Target::read(
            &json!({"x": {}}),
            UUID.parse().unwrap(),
            DateTime::UNIX_EPOCH,
        );
        assert!(other.is_err());
    }
}
