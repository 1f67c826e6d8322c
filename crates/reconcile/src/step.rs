//! The steps an agent can do, one at a time. Each may be cut off anywhere and be done again.

use crate::memory::{Failed, Restarts, Run, Update};
use crate::spec::{ServiceKey, ServiceSpec};
use serde::{Deserialize, Serialize};

/// One thing to do to the engine, or to write down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Write down that a target of this version was taken, before anything of it is done.
    Accept {
        /// The version.
        version: i64,
    },
    /// Ask the registry which platforms an image has and how large it is; what comes of it belongs into
    /// `Observed::offers`, also where nothing could be found out.
    Inspect {
        /// For whom.
        service: ServiceKey,
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
    /// Start a container; one that is held goes on.
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
    /// Ask a container to stop, and end it when it does not; one that is held goes on first.
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
    /// Remove an image that nobody wants, runs or goes back to; never by force.
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
    /// Drop what is remembered of an image that is there no more.
    ForgetImage {
        /// The image as a target named it.
        image: String,
    },
}

impl Step {
    /// What the step is about: a service (`1001/1`), an image's id, a network's name. Where it fails for no
    /// reason of the service's, this is put aside for a while.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Accept { version } => version.to_string(),
            Self::Inspect { service, .. }
            | Self::Pull { service, .. }
            | Self::Create { service, .. }
            | Self::Start { service, .. }
            | Self::Serve { service, .. }
            | Self::Stop { service, .. }
            | Self::Restart { service, .. }
            | Self::Remove { service, .. }
            | Self::Remember { service, .. }
            | Self::Forget { service } => service.to_string(),
            Self::CreateNetwork { name, .. } | Self::RemoveNetwork { name } => name.clone(),
            Self::RemoveImage { id } => id.clone(),
            Self::ForgetImage { image } => image.clone(),
        }
    }

    /// The step's name, as tests, logs and metrics know it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Inspect { .. } => "inspect",
            Self::Pull { .. } => "pull",
            Self::CreateNetwork { .. } => "create_network",
            Self::Create { .. } => "create",
            Self::Start { .. } => "start",
            Self::Serve { .. } => "serve",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Remove { .. } => "remove",
            Self::RemoveImage { .. } => "remove_image",
            Self::RemoveNetwork { .. } => "remove_network",
            Self::Remember { .. } => "remember",
            Self::Forget { .. } => "forget",
            Self::ForgetImage { .. } => "forget_image",
        }
    }
}

/// What the engine calls a network of an app.
#[must_use]
pub fn network_name(prefix: &str, app: i64, network: &str) -> String {
    format!("{prefix}-{app}-{network}")
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
    /// This run's container is about to be restarted, or started again.
    Restarting(Restarts),
    /// This run is about to be ended to make room.
    Stopping(Run),
    /// This image is about to be pulled, and from now on is the agent's to remove.
    Pulling(String),
}
