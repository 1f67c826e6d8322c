//! What an agent tells of each service: to the server in its report, to people in its status.

use crate::memory::FailureClass;
use crate::observed::Health;
use crate::spec::ServiceKey;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One service as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Which.
    pub key: ServiceKey,
    /// Its name.
    pub name: String,
    /// The app's name.
    pub app_name: String,
    /// The image that is wanted; none for a service that is to go.
    pub wanted_image: Option<String>,
    /// The container that speaks for the service: the one that serves, else the newest.
    pub container: Option<ViewedContainer>,
    /// Where it stands.
    pub phase: Phase,
    /// What its checks say.
    pub health: Option<ViewedHealth>,
    /// What went wrong.
    pub error: Option<ViewedError>,
    /// What it waits for, as a sentence, and until when.
    pub waits: Option<(String, Option<DateTime<Utc>>)>,
}

/// The container of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewedContainer {
    /// The engine's id.
    pub id: String,
    /// Its image exactly as the target named it when it was made.
    pub image: String,
    /// The engine's word.
    pub status: String,
    /// The digest that runs, where the engine knows one.
    pub digest: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
}

/// Where a service stands (device protocol, What runs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing has begun, or it waits.
    Waiting,
    /// The image is on its way.
    Pulling,
    /// The image is here.
    Pulled,
    /// The container is being changed.
    Starting,
    /// It runs and has not proved itself.
    Verifying,
    /// It runs and has.
    Running,
    /// It is to be stopped or to go.
    Stopped,
    /// The wanted one failed; the last good one is back, or is coming back.
    Failed,
}

/// What checks say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewedHealth {
    /// Altogether.
    pub status: Health,
    /// Which check decided: startup, readiness, liveness, healthcheck.
    pub probe: Option<String>,
    /// When it was tried last.
    pub checked_at: Option<DateTime<Utc>>,
    /// What it said.
    pub output: Option<String>,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewedError {
    /// What kind.
    pub class: FailureClass,
    /// For people.
    pub message: String,
    /// How often it was tried.
    pub tries: u32,
    /// When it is tried again.
    pub next_try_at: Option<DateTime<Utc>>,
}
