//! What a device remembers over restarts: written before what it makes possible is done.

use crate::spec::{ServiceKey, ServiceSpec};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is remembered of each service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The highest target version that was taken; lower ones are refused.
    pub version: i64,
    /// By service.
    pub services: BTreeMap<String, ServiceMemory>,
}

impl Memory {
    /// What is remembered of a service.
    #[must_use]
    pub fn of(&self, key: ServiceKey) -> Option<&ServiceMemory> {
        self.services.get(&key.to_string())
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
    /// When it is tried again; never for what is the image's own fault.
    pub next_try_at: Option<DateTime<Utc>>,
}

/// An update that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The fingerprint it goes to.
    pub fingerprint: String,
    /// When it first met a lock.
    pub locked_since: Option<DateTime<Utc>>,
    /// When the new container was first started.
    pub started_at: Option<DateTime<Utc>>,
}

/// What kind of thing went wrong (device protocol, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The registry cannot be reached or is busy; tried again.
    Registry,
    /// The registry does not let this device in; tried again, seldom.
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
