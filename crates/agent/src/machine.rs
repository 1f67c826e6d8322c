//! What the loop needs of a container engine. A trait because there are two: the real one (`work`), and
//! the one that tests drive the loop with.

use crate::taking::{Book, Candidate};
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use windlass_engine::ContainerSettings;
use windlass_reconcile::memory::Memory;
use windlass_reconcile::observed::Observed;
use windlass_reconcile::outcome::StepFailure;
use windlass_reconcile::spec::{ServiceKey, Wanted};
use windlass_reconcile::step::Step;

/// A container that a person gave to a service, although it does not carry our labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Whose it is now.
    pub service: ServiceKey,
    /// The service's name.
    pub service_name: String,
    /// The app's name.
    pub app_name: String,
    /// The spec it stands for (`ServiceSpec::fingerprint`): it is replaced when that changes.
    pub fingerprint: String,
    /// The image as the target named it when it was given.
    pub image: String,
    /// Whether it asked for it itself, by its label: watch mode.
    #[serde(default)]
    pub taken: bool,
}

/// Claims by the engine's id of the container.
pub type Claims = BTreeMap<String, Claim>;

/// What is known when the machine is looked at: which images, probes and locks matter.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// What is to run.
    pub wanted: Arc<Wanted>,
    /// What is remembered.
    pub memory: Arc<Memory>,
    /// Containers to be observed as ours, with what the claim says in place of labels, serving.
    pub claims: Arc<Claims>,
    /// What is held in watch mode: what such containers are made from.
    pub taken: Arc<Book>,
}

/// Why a look or a step did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The engine does not answer: nothing can be said of what runs, and nothing is done.
    #[error("the container engine does not answer: {0}")]
    Away(String),
    /// The engine or a registry refused.
    #[error("{}", .0.message)]
    Failed(StepFailure),
}

/// A line that a container printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When, by the engine.
    pub at: DateTime<Utc>,
    /// Whether to standard error.
    pub is_stderr: bool,
    /// The line, without its end.
    pub text: String,
}

/// A container engine. `work::Docker::new(&Config, scope: &str)` makes the real one, without asking it
/// anything: an engine that is away is an answer of `observe`.
pub trait Machine: Send + Sync + 'static {
    /// Looks at it. What probes saw, what registries offer and which locks are held comes from here too,
    /// without waiting for any of them: probes run beside, for the containers and specs of the last scene.
    /// `pulling`, `aside` and how long containers have been seen are the loop's to fill in.
    fn observe(&self, scene: &Scene) -> impl Future<Output = Result<Observed, Trouble>> + Send;

    /// Does one step; those that only write (`Memory::write`) are the loop's own and never come here. Doing a step
    /// again that is done already is no error. A step that is dropped half-way leaves nothing that the
    /// next look does not see.
    fn execute(
        &self,
        scene: &Scene,
        step: &Step,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// The containers that have the label [`crate::taking::ENABLE`], whosever they are. Only a machine that watches
    /// for them has any.
    fn candidates(
        &self,
        _scene: &Scene,
    ) -> impl Future<Output = Result<Vec<Candidate>, Trouble>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Everything that a container was given; none where it, or its image, is gone.
    fn settings(
        &self,
        _container: &str,
    ) -> impl Future<Output = Result<Option<ContainerSettings>, Trouble>> + Send {
        async { Ok(None) }
    }

    /// Returns when a container of ours, a probe's result or a lock has changed since the last call
    /// returned; also when the engine was away and is back. Dropped half-way, it forgets nothing.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// What a container printed after a time, and what it prints from now on. Ends with the container.
    fn logs(
        &self,
        container: &str,
        after: Option<DateTime<Utc>>,
    ) -> BoxStream<'static, Result<LogLine, Trouble>>;
}
