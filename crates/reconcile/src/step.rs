//! The steps an agent can do, one at a time. Each may be cut off anywhere and be done again.

use crate::memory::{Failed, Update};
use crate::spec::{ServiceKey, ServiceSpec};
use serde::{Deserialize, Serialize};

/// One thing to do to the engine, or to write down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Ask the registry which platforms an image has and how large it is.
    Inspect {
        /// The image as the target names it.
        image: String,
    },
    /// Pull an image.
    Pull {
        /// For whom.
        service: ServiceKey,
        /// The image as the target names it.
        image: String,
    },
    /// Make a network of an app.
    CreateNetwork {
        /// Its name in the engine.
        name: String,
        /// The app.
        app: i64,
    },
    /// Make a container and do not start it.
    Create {
        /// Whose.
        service: ServiceKey,
        /// From what.
        spec: Box<ServiceSpec>,
        /// Its name in the engine; not one that another has.
        name: String,
        /// Whether it gets the service's name in its networks at once.
        serving: bool,
    },
    /// Start a container.
    Start {
        /// Whose.
        service: ServiceKey,
        /// The container.
        id: String,
    },
    /// Give a running container the service's name in its networks.
    Serve {
        /// Whose.
        service: ServiceKey,
        /// The container.
        id: String,
    },
    /// Ask a container to stop, and end it when it does not.
    Stop {
        /// Whose.
        service: ServiceKey,
        /// The container.
        id: String,
        /// How long it may take, in seconds.
        grace_seconds: u32,
    },
    /// Restart a container whose liveness probe fails.
    Restart {
        /// Whose.
        service: ServiceKey,
        /// The container.
        id: String,
        /// How long it may take to stop, in seconds.
        grace_seconds: u32,
    },
    /// Remove a container that does not run.
    Remove {
        /// Whose.
        service: ServiceKey,
        /// The container.
        id: String,
    },
    /// Remove an image that nobody wants, runs or goes back to.
    RemoveImage {
        /// The engine's id.
        id: String,
    },
    /// Remove a network that no wanted app has.
    RemoveNetwork {
        /// Its name in the engine.
        name: String,
    },
    /// Write down where an update stands.
    Remember {
        /// Whose.
        service: ServiceKey,
        /// What.
        note: Box<Note>,
    },
    /// Drop what is remembered of a service that is wanted no more.
    Forget {
        /// Whose.
        service: ServiceKey,
    },
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// An update stands here.
    Update(Update),
    /// This spec proved itself; the update is over.
    Good(Box<ServiceSpec>),
    /// The wanted spec failed; the device goes back to the last good one.
    Failed(Failed),
}
