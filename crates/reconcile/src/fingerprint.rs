//! What tells two containers of a service apart.

use crate::spec::{ContainerSpec, ServiceSpec};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

/// 128 bits as hex: no two specs of a device meet, and the label stays readable.
const DIGITS: usize = 32;

impl ServiceSpec {
    /// A stable hash of what makes a container: its image, its name and its [`ContainerSpec`]. Probes, strategy, drain,
    /// lock and dependencies are not in it: changes of these alone make no new container.
    ///
    /// Fields that say what they say by default are left out, so that a later version of this
    /// program, which knows more fields, gives the same spec the same fingerprint: updating the agent recreates
    /// nothing.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut parts = Map::new();
        parts.insert("image".to_owned(), Value::from(self.image.clone()));
        parts.insert("name".to_owned(), Value::from(self.name.clone()));
        parts.insert("container".to_owned(), canonical(&self.container));
        // Maps are ordered, so the text is canonical.
        let text = Value::Object(parts).to_string();
        let mut hex = String::with_capacity(2 * DIGITS);
        for byte in Sha256::digest(text.as_bytes()) {
            hex.push_str(&format!("{byte:02x}"));
        }
        hex.truncate(DIGITS);
        hex
    }
}

/// What a container is that nobody says anything about.
static DEFAULT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(ContainerSpec::default()).unwrap_or_default());

fn canonical(spec: &ContainerSpec) -> Value {
    // These types have text keys only; writing them cannot fail.
    let full = serde_json::to_value(spec).unwrap_or_default();
    let Value::Object(fields) = full else {
        return full;
    };
    fields
        .into_iter()
        .filter(|(name, value)| DEFAULT.get(name) != Some(value))
        .map(|(name, value)| (name, without_nulls(value)))
        .collect()
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}
