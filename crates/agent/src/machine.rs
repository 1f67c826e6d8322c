//! What the loop needs of a container engine. A trait because there are two: the real one (`work`), and
//! the one that tests drive the loop with.

use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;
use windlass_reconcile::memory::{FailureClass, Memory};
use windlass_reconcile::observed::Observed;
use windlass_reconcile::spec::{ServiceKey, Wanted};
use windlass_reconcile::step::Step;

/// What is known when the machine is looked at: which images, probes and locks matter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scene {
    /// What is to run.
    pub wanted: Arc<Wanted>,
    /// What is remembered.
    pub memory: Arc<Memory>,
    /// Containers that a person gave to a service, by the engine's id: they are to be observed as ours
    /// although they do not carry our labels.
    pub claims: Arc<BTreeMap<String, ServiceKey>>,
}

/// Why a look or a step did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The engine does not answer: nothing can be said of what runs, and nothing is done.
    #[error("the container engine does not answer: {0}")]
    Away(String),
    /// The engine or a registry refused.
    #[error("{message}")]
    Failed {
        /// What kind.
        class: FailureClass,
        /// For people.
        message: String,
    },
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

/// A container engine.
pub trait Machine: Send + Sync + 'static {
    /// Looks at it. What probes saw, what registries offer and which locks are held comes from here too,
    /// without waiting for any of them: probes run beside, for the containers and specs of the last scene.
    fn observe(&self, scene: &Scene) -> impl Future<Output = Result<Observed, Trouble>> + Send;

    /// Does one step; `Remember` and `Forget` are the loop's own and never come here. Doing a step
    /// again that is done already is no error. A step that is dropped half-way leaves nothing that the
    /// next look does not see.
    fn execute(
        &self,
        scene: &Scene,
        step: &Step,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Returns when a container of ours, a probe's result or a lock has changed since the last call
    /// returned; also when the engine was away and is back.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// What a container printed after a time, and what it prints from now on. Ends with the container.
    fn logs(
        &self,
        container: &str,
        after: Option<DateTime<Utc>>,
    ) -> BoxStream<'static, Result<LogLine, Trouble>>;
}
