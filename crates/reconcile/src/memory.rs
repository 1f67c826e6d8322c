//! What a device remembers over restarts: written before what it makes possible is done.

use crate::spec::{ServiceKey, ServiceSpec};
use crate::step::{Note, Step};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Stops of one service's containers that are remembered at most. The last good one is started again, and so noted
/// anew, before every further update.
const MOST_STOPS: usize = 8;

/// What is remembered: one file of the device's, written atomically.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The highest target version that was taken; lower ones are refused.
    pub version: i64,
    /// By service.
    pub services: BTreeMap<ServiceKey, ServiceMemory>,
    /// Images that the agent pulled, as targets named them: it may remove these and no others.
    pub pulled: BTreeSet<String>,
}

impl Memory {
    /// What is remembered of a service.
    #[must_use]
    pub fn of(&self, key: ServiceKey) -> Option<&ServiceMemory> {
        self.services.get(&key)
    }

    /// Why a target of this version is not taken.
    #[must_use]
    pub fn refusal(&self, version: i64) -> Option<String> {
        (version < self.version).then(|| {
            format!(
                "the target's version {version} is below {}, which this device has taken: \
                 a way back is a new version with an older image",
                self.version
            )
        })
    }

    /// Writes down what a step says, where it is one that only writes. The step is done when the file is durable;
    /// false: the step is for the engine, and nothing changed here.
    pub fn write(&mut self, step: &Step) -> bool {
        match step {
            Step::Accept { version } => self.version = self.version.max(*version),
            Step::Remember { service, note } => self.apply(*service, (**note).clone()),
            Step::Forget { service } => {
                self.services.remove(service);
            }
            Step::ForgetImage { image } => {
                self.pulled.remove(image);
            }
            Step::Inspect { .. }
            | Step::Pull { .. }
            | Step::CreateNetwork { .. }
            | Step::Create { .. }
            | Step::Start { .. }
            | Step::Serve { .. }
            | Step::Stop { .. }
            | Step::Restart { .. }
            | Step::Remove { .. }
            | Step::RemoveImage { .. }
            | Step::RemoveNetwork { .. } => return false,
        }
        true
    }

    /// Takes a note of a service.
    pub fn apply(&mut self, key: ServiceKey, note: Note) {
        let of = self.services.entry(key).or_default();
        match note {
            Note::Update(update) => of.update = Some(update),
            Note::Good(spec) => {
                of.good = Some(*spec);
                of.failed = None;
                of.update = None;
                of.stops.clear();
            }
            Note::Failed(failed) => {
                of.failed = Some(failed);
                of.update = None;
            }
            Note::Restarting(restarts) => of.restarts = Some(restarts),
            Note::Stopping(run) => {
                of.stops.retain(|known| known.id != run.id);
                of.stops.push(run);
                let too_many = of.stops.len().saturating_sub(MOST_STOPS);
                of.stops.drain(..too_many);
            }
            Note::Pulling(image) => {
                self.pulled.insert(image);
            }
        }
    }
}

/// What is remembered of one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceMemory {
    /// The last spec that proved itself here, whole: what the device goes back to by itself.
    pub good: Option<ServiceSpec>,
    /// The wanted spec that did not.
    pub failed: Option<Failed>,
    /// An update that is under way: since when, for deadlines that survive a restart.
    pub update: Option<Update>,
    /// Restarts by the agent.
    pub restarts: Option<Restarts>,
    /// The runs that the agent ended to make room, the newest last: one that its restart policy would
    /// leave ended is started again all the same when it is to run again.
    pub stops: Vec<Run>,
}

/// A spec that failed on this device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The fingerprint of the spec.
    pub fingerprint: String,
    /// The version of the target that wanted it: a later one that wants it again is a new try.
    pub version: i64,
    /// What went wrong.
    pub class: FailureClass,
    /// For people.
    pub message: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again; none: not for this version of the target.
    pub next_try_at: Option<DateTime<Utc>>,
}

/// An update that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The fingerprint it goes to.
    pub fingerprint: String,
    /// When it first met a lock.
    #[serde(default)]
    pub locked_since: Option<DateTime<Utc>>,
    /// When the new container was first started.
    #[serde(default)]
    pub started_at: Option<DateTime<Utc>>,
}

/// One run of a container, from a start to its end. Told by the engine's own words alone, so that no two clocks
/// are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The container.
    pub id: String,
    /// When the engine says it was started.
    pub started_at: Option<DateTime<Utc>>,
}

/// Restarts of a service's container by the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// The run that is ended, or has ended, and is followed by the next one.
    pub run: Run,
    /// How many in a row, this one counted.
    pub count: u32,
    /// When.
    pub at: DateTime<Utc>,
}

/// What kind of thing went wrong (device protocol, What runs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The registry cannot be reached or is busy; tried again.
    Registry,
    /// The registry does not let this device in; tried again.
    Auth,
    /// Too little room; tried again.
    Disk,
    /// The image cannot be had: no such digest, no such platform, broken.
    Pull,
    /// The engine would not make or start the container.
    Start,
    /// It ends again and again.
    CrashLoop,
    /// Its probes do not pass.
    Health,
    /// The target asks for what cannot be done.
    Config,
}

impl FailureClass {
    /// The word of the device protocol.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Auth => "auth",
            Self::Disk => "disk",
            Self::Pull => "pull",
            Self::Start => "start",
            Self::CrashLoop => "crash_loop",
            Self::Health => "health",
            Self::Config => "config",
        }
    }

    /// Whether it says something of the image and its configuration, rather than of what kept it
    /// from the device: such a spec is not tried again for the same version of the target where there is one to go
    /// back to.
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Start | Self::CrashLoop | Self::Health | Self::Config => true,
            Self::Registry | Self::Auth | Self::Disk | Self::Pull => false,
        }
    }
}
