//! Observations: what Windlass makes of a device's reports, folded one after the other.

use crate::ids::ReportId;
use crate::report::{ReportedError, ReportedHealth};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is known of a device's containers, from its reports so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Observation {
    /// One entry for each service ever seen and not forgotten, by (app, service).
    pub services: Vec<ServiceObservation>,
    /// The highest target version that a report named: received, not necessarily applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_received: Option<i64>,
    /// When the last report that counts came in (server's clock).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report_at: Option<DateTime<Utc>>,
    /// When our own agent made the last report that counts (device's clock; only compared with itself).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reported_at: Option<DateTime<Utc>>,
    /// The last report that counts, where the agent names its reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_report_id: Option<ReportId>,
}

/// What is known of one service on one device. Times are the server's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceObservation {
    /// The app.
    pub app_id: i64,
    /// The service.
    pub service_id: i64,
    /// The image as reported last; none while the service is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image before the present one, or the last one of an absent service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_image: Option<String>,
    /// The digest, where the agent reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The engine's word for its state; `absent` where the last report did not have it.
    pub status: String,
    /// The container; the last one of an absent service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// Other containers of the service in the same state, which do not speak for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<String>,
    /// Since when this very container has been reported running this image, without a break.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<DateTime<Utc>>,
    /// Since when the service has been missing from reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_since: Option<DateTime<Utc>>,
    /// Since when `image` is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_since: Option<DateTime<Utc>>,
    /// Restarts seen on this image: containers that were replaced, and each time one began to fail
    /// (restarting, exited, dead).
    #[serde(default)]
    pub restarts: i64,
    /// Whether its container had failed when it was seen last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failing: bool,
    /// What its probes say, where the agent reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub health: Option<ReportedHealth>,
    /// When its probes stopped failing, in this very container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_at: Option<DateTime<Utc>>,
    /// What went wrong, where the agent reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<ReportedError>,
    /// The agent's step, where it reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Since when phase and error are what they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_since: Option<DateTime<Utc>>,
}
