//! Watch mode: containers that compose or a person started are taken as they are.
//!
//! * Owns: the book (`taken.json`): which containers are held, as which services, and everything that the engine
//!   said of them when they were taken. From it the target and the policies are made, elsewhere.
//! * Never: takes what does not ask for it by its label, starts what somebody stopped, or asks a server.
//! * Woken by: each look of the loop.
//! * Test it with: `cargo nextest run -p windlass-agent taking`.
//!
//! docs/adr/0026-watch-mode.md says why it is so.

mod decide;
mod identity;

pub use decide::{Decision, Round, Take, decide};

use crate::machine::Claim;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;
use windlass_engine::ContainerSettings;
use windlass_reconcile::label;
use windlass_reconcile::observed::ContainerState;
use windlass_reconcile::spec::{ServiceKey, ServiceSpec, Wanted};
use windlass_types::image::ImageReference;
use windlass_types::target::{TargetApp, TargetService, TargetState};

/// The label with which a container asks to be kept up to date: `true`.
pub const ENABLE: &str = "windlass.enable";

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// Says why what a container's labels ask for cannot be had.
pub type Understands = fn(&Labels, &ImageReference) -> Result<(), String>;

/// What watch mode is given, and whom it tells.
#[derive(Debug)]
pub struct Watching {
    /// Reads what containers ask for.
    pub understands: Understands,
    /// Where the book is shown.
    pub book: watch::Sender<Arc<Book>>,
    /// What whoever follows the book has to say, as sentences.
    pub said: watch::Receiver<Arc<Vec<String>>>,
}

/// Whose a container is by its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// No agent's.
    Nobody,
    /// This agent made it anew.
    Us,
    /// An agent's of this scope.
    Other(String),
}

/// A container that asks to be taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The engine's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Whose it is.
    pub owner: Owner,
    /// The image as it was asked for when it was made.
    pub image: String,
    /// What its image is called, `repository@sha256:…` among it.
    pub names: Vec<String>,
    /// The engine's word.
    pub state: ContainerState,
    /// Whether the engine removes it when it ends.
    pub auto_remove: bool,
    /// A container that could not be started again without it.
    pub lends_to: Option<Lent>,
    /// Whether the engine may be reached through it.
    pub leads_to_engine: bool,
    /// What the engine does when it exits.
    pub restart: String,
    /// The networks that it was put into.
    pub networks: BTreeSet<String>,
    /// What it may use of the machine, as text.
    pub limits: String,
}

/// Something of a container that another one uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lent {
    /// The name of the other one.
    pub to: String,
    /// What it is, for people.
    pub what: &'static str,
}

/// A container that was taken: what makes a service of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// The engine's id of the container that was taken; after an update there is another one.
    pub container: String,
    /// Its name, which goes to whichever container of the service is started.
    pub name: String,
    /// The app's name.
    pub app_name: String,
    /// The service's name.
    pub service_name: String,
    /// The image that ran: `repository:tag@sha256:…`.
    pub image: String,
    /// What it asks for: its labels that begin with `windlass.`, but for the agent's own.
    pub asks: Labels,
    /// The name of `kept`: other settings have another one.
    pub settings: String,
    /// What it had.
    pub kept: ContainerSettings,
}

/// What is held.
pub type Book = BTreeMap<ServiceKey, Taken>;

impl Taken {
    /// A container as it is taken.
    #[must_use]
    pub fn new(take: &Take, settings: ContainerSettings) -> Self {
        let kept = settings.without_labels(label::is_own);
        let mut name = String::new();
        // Of the container, too: one in its place that has the same is another one, which runs what it runs.
        let of = format!("{}\n{}", take.container, kept.canonical());
        for byte in Sha256::digest(of.as_bytes()).iter().take(8) {
            name.push_str(&format!("{byte:02x}"));
        }
        Self {
            container: take.container.clone(),
            name: take.name.clone(),
            app_name: take.app_name.clone(),
            service_name: take.service_name.clone(),
            image: take.image.clone(),
            asks: take.asks.clone(),
            settings: name,
            kept,
        }
    }

    /// Whether a container of it is no longer as it was taken: it can be given another name, another restart policy,
    /// other networks and other limits while it runs.
    #[must_use]
    pub fn differs(&self, candidate: &Candidate) -> bool {
        let networks: BTreeSet<&str> = self.kept.networks().collect();
        self.name != candidate.name
            || self.kept.restart() != candidate.restart
            || self.kept.limits() != candidate.limits
            || !networks
                .iter()
                .copied()
                .eq(candidate.networks.iter().map(String::as_str))
    }

    /// The service of a target that it is.
    #[must_use]
    pub fn service(&self, key: ServiceKey) -> TargetService {
        let text = |text: &str| Value::String(text.to_owned());
        TargetService {
            service_id: key.service,
            service_name: self.service_name.clone(),
            image_name: self.image.clone(),
            state: Some("running".to_owned()),
            config: Map::from_iter([
                ("image".to_owned(), text(&self.image)),
                ("settings".to_owned(), text(&self.settings)),
                ("restart".to_owned(), text(&self.kept.restart())),
            ]),
            rest: Map::new(),
        }
    }

    /// The spec that it stands for; none where it is none that can be run.
    #[must_use]
    pub fn spec(&self, key: ServiceKey) -> Option<ServiceSpec> {
        let app = TargetApp {
            app_id: key.app,
            app_name: self.app_name.clone(),
            services: vec![self.service(key)],
            rest: Map::new(),
        };
        let state = TargetState {
            apps: BTreeMap::from([(key.app.to_string(), app)]),
            config: Map::new(),
        };
        Wanted::read(&state, 0).services.remove(&key)
    }

    /// That the container is this service.
    #[must_use]
    pub fn claim(&self, key: ServiceKey) -> Option<Claim> {
        Some(Claim {
            service: key,
            service_name: self.service_name.clone(),
            app_name: self.app_name.clone(),
            fingerprint: self.spec(key)?.fingerprint(),
            image: self.image.clone(),
            taken: true,
        })
    }
}
