//! Devices, provisioning and what the API shows of them.

use crate::ids::{DeviceId, FleetId, ProvisioningKeyId};
use crate::observation::Observation;
use crate::target::{TargetSource, TargetState};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// `POST /device/register` (device protocol, section 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisterRequest {
    /// The uuid the device made for itself.
    pub uuid: DeviceId,
    /// A name for people.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    pub device_name: String,
    /// `standalone` or what the agent says.
    #[schema(min_length = 1, max_length = 255, pattern = r"\S")]
    pub device_type: String,
    /// 64 hex digits made by the device: its key from now on.
    #[schema(min_length = 32, max_length = 256, pattern = r"\S")]
    pub device_api_key: String,
    /// Where known.
    #[serde(default)]
    pub mac_address: Option<String>,
    /// Where known.
    #[serde(default)]
    pub os_version: Option<String>,
    /// Where known.
    #[serde(default)]
    pub agent_version: Option<String>,
    /// Passed through.
    #[serde(default)]
    pub application_id: Option<i64>,
    /// The device's IANA time zone, where it knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Berlin", max_length = 64)]
    pub time_zone: Option<String>,
}

/// The answer to [`RegisterRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegisterResponse {
    /// A number for the device; agents need it.
    pub id: i64,
    /// The uuid, repeated.
    pub uuid: DeviceId,
    /// The name, repeated.
    pub device_name: String,
    /// The type, repeated.
    pub device_type: String,
    /// The application, repeated.
    pub application_id: Option<i64>,
    /// The fleet that the provisioning key put it in.
    pub fleet_id: FleetId,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// Empty strings: reports go over HTTP. Agents need the object.
    pub mqtt: MqttSettings,
}

/// Message broker settings; always empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MqttSettings {
    /// Empty.
    pub username: String,
    /// Empty.
    pub password: String,
    /// Empty.
    pub broker: String,
    /// Empty.
    pub topics: MqttTopics,
}

/// Message broker topics; always empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MqttTopics {
    /// Empty.
    pub publish: Vec<String>,
    /// Empty.
    pub subscribe: Vec<String>,
}

/// `POST /device/{uuid}/key-exchange`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyExchangeRequest {
    /// The device.
    pub uuid: DeviceId,
    /// Its key.
    pub device_api_key: String,
}

/// `POST /provisioning-keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewProvisioningKey {
    /// The fleet its devices join; made where it does not exist.
    pub fleet_id: FleetId,
    /// How many devices it may register.
    #[serde(default = "hundred")]
    #[schema(minimum = 1, maximum = 10_000_000)]
    pub max_devices: i64,
    /// How long it is valid, in days.
    #[serde(default = "year")]
    #[schema(minimum = 1, maximum = 3650)]
    pub expires_in_days: i64,
    /// For people.
    #[serde(default)]
    pub description: String,
}

const fn hundred() -> i64 {
    100
}

const fn year() -> i64 {
    365
}

/// A provisioning key as shown; the key itself only in the answer that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningKey {
    /// Its id.
    pub id: ProvisioningKeyId,
    /// The key, shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The fleet its devices join.
    pub fleet_id: FleetId,
    /// How many devices it may register.
    pub max_devices: i64,
    /// How many it has registered.
    pub devices: i64,
    /// For people.
    pub description: String,
    /// Until when it is valid.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A device as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// Its uuid.
    pub uuid: DeviceId,
    /// Its number.
    pub id: i64,
    /// A name for people.
    pub name: String,
    /// The type it registered with.
    pub device_type: String,
    /// Its fleet.
    pub fleet: FleetId,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Whether it may poll and report.
    pub enabled: bool,
    /// Its own IANA time zone, for maintenance windows that name none.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// What it runs on, as it said last, such as `linux/arm64/v8`; its tag `platform` goes before it.
    #[serde(default)]
    pub platform: Option<String>,
    /// The agent's version, as it said last.
    pub agent_version: Option<String>,
    /// The operating system, as it said last.
    pub os_version: Option<String>,
    /// When it polled or reported last, to the resolution at which that is kept.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Its target's version.
    pub target_version: i64,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
}

/// A device's target as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceTarget {
    /// The device.
    pub uuid: DeviceId,
    /// Raised by each change, never lowered.
    pub version: i64,
    /// Who gave it.
    pub source: TargetSource,
    /// When.
    pub updated_at: DateTime<Utc>,
    /// What it is to run.
    #[serde(flatten)]
    pub state: TargetState,
}

/// What a device said last and what Windlass makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceCurrentState {
    /// The device.
    pub uuid: DeviceId,
    /// Its last report that counts, as it came.
    #[schema(value_type = Option<Object>)]
    pub report: Option<serde_json::Value>,
    /// When it came.
    pub received_at: Option<DateTime<Utc>>,
    /// What Windlass makes of its reports.
    pub observation: Observation,
}

/// A line of a device's logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceLog {
    /// Its number; later lines have higher ones.
    pub id: i64,
    /// When the device wrote it, by its own clock.
    pub logged_at: DateTime<Utc>,
    /// When it came.
    pub received_at: DateTime<Utc>,
    /// `info` and the like.
    pub level: String,
    /// The line.
    pub message: String,
    /// The service it is from.
    pub service_name: Option<String>,
    /// The container it is from.
    pub container_id: Option<String>,
    /// Whether it was written to standard error.
    pub is_stderr: bool,
    /// Where it is from, as the device says it.
    #[schema(value_type = Option<Object>)]
    pub source: Option<serde_json::Value>,
}
