//! What is there: the engine's containers and images as they were read, and what probes saw.

use crate::spec::{Healthcheck, Port, ServiceKey};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One look at a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    /// Containers that carry the agent's labels; others are never read.
    pub containers: Vec<Container>,
    /// The engine's images that have a name; which of them are ours to remove is remembered.
    pub images: Vec<Image>,
    /// The ids of images that containers are made from which are not among these.
    pub in_use: BTreeSet<String>,
    /// Networks that carry the agent's labels, by their name in the engine: whose app's they are.
    pub networks: BTreeMap<String, i64>,
    /// Bytes free where the engine keeps images, where that can be told.
    pub free_bytes: Option<u64>,
    /// The engine's platform: `linux/arm64/v8`.
    pub platform: Option<String>,
    /// What was found out about images in their registries, by image.
    pub offers: BTreeMap<String, Offer>,
    /// Locks that are held, by service: who holds it (of those in `ask::locks`).
    pub locks: BTreeMap<ServiceKey, String>,
    /// Images whose pull is under way. An agent that pulls beside its other steps says so here; one
    /// that waits for each step leaves it empty.
    pub pulling: BTreeSet<String>,
    /// Services that are in somebody else's hands for now: nothing of them is touched. An agent that looks
    /// names here those of which there are containers that somebody else made; its loop takes those off
    /// that are its own to change.
    pub left: BTreeSet<ServiceKey>,
    /// Subjects of steps ([`crate::step::Step::subject`]) that failed for no reason of the service's:
    /// no step of theirs is planned for a while.
    pub aside: BTreeMap<String, Aside>,
}

/// Why and until when no step about something is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// What went wrong, for people.
    pub message: String,
    /// When it is tried again.
    pub until: DateTime<Utc>,
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
    /// The service's name when it was made.
    #[serde(default)]
    pub service_name: String,
    /// The app's name when it was made.
    #[serde(default)]
    pub app_name: String,
    /// The spec it was made from (`ServiceSpec::fingerprint`).
    pub fingerprint: String,
    /// The image as the target named it when it was made.
    pub image: String,
    /// The id of the image it was made from.
    pub image_id: String,
    /// The engine's word.
    pub state: ContainerState,
    /// Whether it carries the service's name in its networks; true for one that has no network of the app's.
    pub serving: bool,
    /// The last start; none where it was never started.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
    /// The last end.
    #[serde(default)]
    pub finished_at: Option<DateTime<Utc>>,
    /// How it ended.
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// Whether it was ended for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// How often the engine started it again.
    #[serde(default)]
    pub restarts: u32,
    /// What the engine's own health check says; none where it has none.
    #[serde(default)]
    pub health: Option<Health>,
    /// When the engine asks that check, as the container was made: by its image, or by whoever made it.
    #[serde(default)]
    pub healthcheck: Option<Healthcheck>,
    /// The ports of the host that it was made to publish.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// How long it may take to stop, in seconds, as it was made.
    #[serde(default)]
    pub stop_seconds: Option<u32>,
    /// What the agent's probes say.
    #[serde(default)]
    pub probes: ProbeResults,
    /// For how many seconds the agent has seen this run go on, by a clock that nobody sets; each agent counts anew.
    /// A container is judged by this, so that a clock that is put forward neither proves nor condemns it.
    #[serde(default)]
    pub seen_seconds: u32,
    /// For how many of these it carried the service's name.
    #[serde(default)]
    pub served_seconds: u32,
    /// How many of the engine's restarts say nothing of what the agent did: it saw the container first with so many,
    /// and had not begun to run it itself.
    #[serde(default)]
    pub restarts_before: u32,
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
    /// Further checks, by their names in the spec.
    pub checks: BTreeMap<String, ProbeResult>,
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
    #[serde(default)]
    pub bytes: u64,
}

/// What a registry offers under an image's name. Asking never fails: what could not be found out is left
/// empty, and the pull then tells what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Offer {
    /// Its platforms, `os/architecture[/variant]`; empty where the registry does not tell.
    pub platforms: BTreeSet<String>,
    /// What a pull takes on the disk, as far as that can be told before, in bytes; none where the registry does not tell.
    pub bytes: Option<u64>,
}

impl Container {
    /// Whether the engine holds it up: it runs, is held, or is between two starts.
    #[must_use]
    pub fn is_active(&self) -> bool {
        match self.state {
            ContainerState::Running | ContainerState::Paused | ContainerState::Restarting => true,
            ContainerState::Created
            | ContainerState::Removing
            | ContainerState::Exited
            | ContainerState::Dead => false,
        }
    }
}

impl ContainerState {
    /// The engine's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}
