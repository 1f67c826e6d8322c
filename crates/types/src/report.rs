//! Reports: what a device says it runs (device protocol, section 3).
//!
//! Lenient on purpose: existing agents send what they send. What is not understood is kept in the
//! stored report and ignored here.

use crate::ids::ReportId;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The part of a report that is judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Apps by their id as text; absent means that the report says nothing of apps.
    #[serde(default)]
    pub apps: Option<BTreeMap<String, ReportedApp>>,
    /// The target version the device has received. Existing agents leave it out of reports that
    /// they replay: such a report is history.
    #[serde(default, deserialize_with = "lenient")]
    pub version: Option<i64>,
    /// Made by our own agent, once for each report.
    #[serde(default, rename = "reportId", deserialize_with = "lenient")]
    pub report_id: Option<ReportId>,
    /// When our own agent made it.
    #[serde(default, rename = "reportedAt", deserialize_with = "lenient")]
    pub reported_at: Option<DateTime<Utc>>,
    /// The agent's version.
    #[serde(default, deserialize_with = "lenient")]
    pub agent_version: Option<String>,
    /// The operating system.
    #[serde(default, deserialize_with = "lenient")]
    pub os_version: Option<String>,
    /// The device's IANA time zone.
    #[serde(default, deserialize_with = "lenient")]
    pub time_zone: Option<String>,
    /// What the device runs on: system, processor and variant, such as `linux/arm64/v8`.
    #[serde(default, deserialize_with = "lenient")]
    pub platform: Option<String>,
    /// The device's address in its own network.
    #[serde(default, deserialize_with = "lenient")]
    pub local_ip: Option<String>,
}

/// An app in a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedApp {
    /// The id.
    #[serde(default, deserialize_with = "lenient")]
    pub app_id: Option<i64>,
    /// The containers; the same service can stand here twice.
    #[serde(default)]
    pub services: Vec<ReportedService>,
}

/// A container in a report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedService {
    /// The id.
    #[serde(default, deserialize_with = "lenient")]
    pub service_id: Option<i64>,
    /// The name.
    #[serde(default, deserialize_with = "lenient")]
    pub service_name: Option<String>,
    /// The image as it was sent, or a bare `sha256:<id>` when the tag was moved on the device.
    #[serde(default, deserialize_with = "lenient")]
    pub image_name: Option<String>,
    /// The container.
    #[serde(default, deserialize_with = "lenient")]
    pub container_id: Option<String>,
    /// The engine's word: created, running, paused, restarting, removing, exited, dead.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<String>,
    /// Ours: what its probes say.
    #[serde(default, deserialize_with = "lenient")]
    pub health: Option<ReportedHealth>,
    /// Ours: what went wrong.
    #[serde(default, deserialize_with = "lenient")]
    pub error: Option<ReportedError>,
    /// Ours: the digest that runs.
    #[serde(default, deserialize_with = "lenient")]
    pub digest: Option<String>,
    /// Ours: pulling, pulled, starting, verifying, running, failed.
    #[serde(default, deserialize_with = "lenient")]
    pub phase: Option<String>,
}

/// What a service's probes say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedHealth {
    /// healthy, unhealthy or starting.
    #[serde(default)]
    pub status: String,
    /// Which probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// What it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// What went wrong with a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReportedError {
    /// registry, auth, disk, pull, start, crash_loop, health.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// How often it was tried again.
    #[serde(default)]
    pub retry_count: i64,
}

/// A field of another type than expected counts as absent: one odd field does not cost a report.
fn lenient<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}
