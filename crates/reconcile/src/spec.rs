//! What is wanted: a target state, read into one spec for each container.

mod container;
mod mounts;
mod names;
mod ports;
mod probes;
mod read;
mod size;
mod value;
mod words;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which service of which app: what containers, memory and reports are kept by. `1001/1` as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceKey {
    /// The app's id.
    pub app: i64,
    /// The service's id, unique in its app.
    pub service: i64,
}

impl std::fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.app, self.service)
    }
}

/// A text that is no [`ServiceKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no service: expected the app's id, a slash and the service's id")]
pub struct NoServiceKey(String);

impl TryFrom<String> for ServiceKey {
    type Error = NoServiceKey;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts = text.split_once('/');
        let ids = parts.and_then(|(app, service)| Some((app.parse().ok()?, service.parse().ok()?)));
        match ids {
            Some((app, service)) => Ok(Self { app, service }),
            None => Err(NoServiceKey(text)),
        }
    }
}

impl From<ServiceKey> for String {
    fn from(key: ServiceKey) -> Self {
        key.to_string()
    }
}

/// Everything a device is to run. There is no default: a device that knows no target wants nothing
/// of its engine, which is not the same as wanting that nothing runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// The target's version.
    pub version: i64,
    /// The services that could be read.
    #[serde(default)]
    pub services: BTreeMap<ServiceKey, ServiceSpec>,
    /// The services that could not: nothing of them is touched.
    #[serde(default)]
    pub refused: BTreeMap<ServiceKey, Refused>,
    /// What was read and not understood, and left out: one sentence for each, told once.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A service that cannot be run as the target says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The app's name for people.
    pub app_name: String,
    /// The service's name.
    pub name: String,
    /// The image that is wanted.
    pub image: String,
    /// Which field is wrong and what would be right.
    pub reason: String,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// The app's name for people.
    pub app_name: String,
    /// The service's name: its alias in its networks.
    pub name: String,
    /// The image exactly as the target names it.
    pub image: String,
    /// Whether it is to run; otherwise it is to be there, stopped.
    pub running: bool,
    /// What makes the container: a change of any of it makes a new one.
    #[serde(default)]
    pub container: ContainerSpec,
    /// How it changes from the old container to the new one.
    #[serde(default)]
    pub update: UpdateStrategy,
    /// How long the old container goes on after the new one was given the name, where both stand beside one another, in
    /// seconds.
    #[serde(default)]
    pub drain_seconds: Option<u32>,
    /// When it has started, may serve and is alive; changes of these alone make no new container.
    #[serde(default)]
    pub probes: Probes,
    /// Services of the same app, by name, that must be there first.
    #[serde(default)]
    pub depends_on: BTreeMap<String, DependsOn>,
    /// An update lock the app may hold.
    #[serde(default)]
    pub lock: Option<Lock>,
}

/// What the engine is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Variables.
    pub environment: BTreeMap<String, String>,
    /// Variables whose values are read from files on the device when the container is made.
    pub secret_files: BTreeMap<String, String>,
    /// Ports to publish.
    pub ports: Vec<Port>,
    /// Volumes and binds.
    pub mounts: Vec<Mount>,
    /// Networks of the app, with further aliases beside the service's name; never empty where there is
    /// neither a network mode nor settings of the container's own. [`crate::step::network_name`] says
    /// what the engine calls them.
    pub networks: BTreeMap<String, Vec<String>>,
    /// `bridge`, `host` or `none`: none of the app's networks, and so no name there.
    pub network_mode: Option<String>,
    /// What the engine does when it exits.
    pub restart: Restart,
    /// The target's own labels.
    pub labels: BTreeMap<String, String>,
    /// Limits.
    pub resources: Resources,
    /// User and group.
    pub user: Option<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Devices of the host: `/dev/ttyS0[:/dev/ttyS0[:rwm]]`.
    pub devices: Vec<String>,
    /// All capabilities and devices.
    pub privileged: bool,
    /// Root file system read-only.
    pub read_only: bool,
    /// Folders in memory: path to options.
    pub tmpfs: BTreeMap<String, String>,
    /// Further hosts: name to address.
    pub extra_hosts: BTreeMap<String, String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// An init process that reaps and forwards signals.
    pub init: Option<bool>,
    /// Logging driver and its options.
    pub logging: Option<Logging>,
    /// The signal that asks it to stop; the image's own where none is given.
    pub stop_signal: Option<String>,
    /// How long it may take to stop, in seconds.
    pub stop_grace_seconds: Option<u32>,
    /// The engine's own health check.
    pub healthcheck: Option<Healthcheck>,
    /// The name of settings that the device keeps of a container that it took as it was: they make the
    /// container, with the image of this spec, and of the other fields only what is asked of a container that
    /// ended is read.
    pub settings: Option<String>,
}

impl ContainerSpec {
    /// Whether it is made from settings that the device keeps of a container that somebody else made.
    #[must_use]
    pub const fn is_taken(&self) -> bool {
        self.settings.is_some()
    }
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// The address of the host it is bound to; every one where none is given.
    pub address: Option<String>,
    /// Ports of the host, first and last: one, a range to choose from, or any free one for `None`.
    pub host: Option<(u16, u16)>,
    /// The container's port.
    pub container: u16,
    /// tcp or udp.
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// A volume or a bind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mount {
    /// A path of the host (begins with `/`), a volume's name, or none for an anonymous volume.
    pub source: Option<String>,
    /// Where in the container.
    pub target: String,
    /// Whether it may not be written.
    pub read_only: bool,
}

/// What the engine does when a container exits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Nothing.
    No,
    /// Starts it again after a failure, at most so often; 0 is without a limit.
    OnFailure(u32),
    /// Starts it again, unless it was stopped on purpose. What a target calls `always` is this: a
    /// container that the agent stopped must not come back with the engine.
    #[default]
    UnlessStopped,
}

/// Limits of a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Thousandths of a processor.
    pub cpu_milli: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Bytes of memory kept free for it.
    pub memory_reserved_bytes: Option<u64>,
    /// Processes.
    pub pids: Option<u32>,
}

/// Where the engine writes what a container prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// The driver.
    pub driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// The engine's own health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", "…"]` or `["NONE"]`.
    pub test: Vec<String>,
    /// Seconds between two.
    pub interval_seconds: Option<u32>,
    /// Seconds for one.
    pub timeout_seconds: Option<u32>,
    /// Failures in a row that count.
    pub retries: Option<u32>,
    /// Seconds in which failures do not count.
    pub start_period_seconds: Option<u32>,
}

/// How a service changes from the old container to the new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateStrategy {
    /// Pull and make the new one, stop the old one, start the new one.
    #[default]
    Recreate,
    /// Start the new one beside the old one, hand over when its probes pass, then stop the old one.
    BlueGreen,
}

/// What must be true of another service first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependsOn {
    /// It has been started.
    Started,
    /// Its probes pass.
    Healthy,
    /// It ran and ended with 0.
    Completed,
}

/// A lock with which an app keeps its own update away for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Where it is asked for.
    pub at: LockAt,
    /// How long it may be held, in seconds, from when the update first met it; then it counts no more.
    pub longest_seconds: u32,
}

/// Where a lock is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockAt {
    /// A file of the host: held while it is there; its text says who holds it.
    File(String),
    /// A path of the container over HTTP: 200 is free, 423 is held; the body says by whom.
    Http {
        /// The container's port.
        port: u16,
        /// The path.
        path: String,
    },
}

/// A service's probes (device protocol, section 2).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probes {
    /// Passes once when it has started; the others wait for it.
    pub startup: Option<Probe>,
    /// Whether it may serve.
    pub readiness: Option<Probe>,
    /// Whether it is alive; one that is not is restarted.
    pub liveness: Option<Probe>,
    /// Further checks, by name, that a rollout has devices run: as the readiness probe, all of them.
    pub checks: BTreeMap<String, Probe>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// What is tried.
    pub kind: ProbeKind,
    /// Seconds after the start before the first try.
    pub initial_delay_seconds: u32,
    /// Seconds between two tries.
    pub period_seconds: u32,
    /// Seconds for one try.
    pub timeout_seconds: u32,
    /// Successes in a row that count.
    pub success_threshold: u32,
    /// Failures in a row that count.
    pub failure_threshold: u32,
}

/// What a probe tries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// A GET on the container.
    Http {
        /// The container's port.
        port: u16,
        /// The path.
        path: String,
        /// Answers that are well; empty means 200 to 399.
        expected: Vec<u16>,
        /// Whether it is asked over TLS; its certificate is not looked at, since it names no device.
        #[serde(default)]
        tls: bool,
        /// What the body must have in it.
        #[serde(default)]
        contains: Option<String>,
    },
    /// A connection to the container.
    Tcp {
        /// The container's port.
        port: u16,
    },
    /// A program in the container that ends with 0.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
}
