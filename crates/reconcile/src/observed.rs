//! What is there: the engine's containers and images as they were read, and what probes saw.

use crate::spec::ServiceKey;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One look at a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// Containers that carry the agent's labels; others are never read.
    pub containers: Vec<Container>,
    /// Images that are wanted, remembered or of our containers.
    pub images: Vec<Image>,
    /// Networks that carry the agent's labels, by name.
    pub networks: BTreeSet<String>,
    /// Bytes free where the engine keeps images, where that can be told.
    pub free_bytes: Option<u64>,
    /// The engine's platform: `linux/arm64/v8`.
    pub platform: Option<String>,
    /// What was found out about images in their registries, by image.
    pub offers: BTreeMap<String, Offer>,
    /// Locks that are held, by service: who holds it.
    pub locks: BTreeMap<ServiceKey, String>,
}

/// One of our containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// The engine's id, 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub service: ServiceKey,
    /// The spec it was made from (`ServiceSpec::fingerprint`).
    pub fingerprint: String,
    /// The image as the target named it when it was made.
    pub image: String,
    /// The id of the image it was made from.
    pub image_id: String,
    /// The engine's word.
    pub state: ContainerState,
    /// Whether it carries the service's name in its networks.
    pub serving: bool,
    /// The last start.
    pub started_at: Option<DateTime<Utc>>,
    /// The last end.
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub exit_code: Option<i64>,
    /// Whether it was ended for want of memory.
    pub oom_killed: bool,
    /// How often the engine started it again.
    pub restarts: u32,
    /// What the engine's own health check says.
    pub health: Option<Health>,
    /// What the agent's probes say.
    #[serde(default)]
    pub probes: ProbeResults,
}

/// The engine's word for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Runs.
    Running,
    /// Held.
    Paused,
    /// Between two starts.
    Restarting,
    /// Going away.
    Removing,
    /// Ended.
    Exited,
    /// The engine could not end it as it should.
    Dead,
}

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Nothing yet.
    Starting,
    /// Well.
    Healthy,
    /// Not.
    Unhealthy,
}

/// What the probes of one container say, since its last start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProbeResults {
    /// The startup probe.
    pub startup: Option<ProbeResult>,
    /// The readiness probe.
    pub readiness: Option<ProbeResult>,
    /// The liveness probe.
    pub liveness: Option<ProbeResult>,
}

/// What one probe says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// Past its thresholds.
    pub health: Health,
    /// When it was tried last.
    pub at: DateTime<Utc>,
    /// What it said, for people; at most 1 KiB.
    pub output: String,
}

/// An image in the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The engine's id.
    pub id: String,
    /// What it can be named by: `repository:tag` and `repository@sha256:…`.
    pub names: BTreeSet<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// When it came, where the agent pulled it.
    pub pulled_at: Option<DateTime<Utc>>,
}

/// What a registry offers under an image's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its platforms; empty where the registry does not tell.
    pub platforms: BTreeSet<String>,
    /// What a pull brings at most, in bytes; none where the registry does not tell.
    pub bytes: Option<u64>,
}
