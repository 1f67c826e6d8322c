//! Pulls go on beside other steps: one slow registry must not keep a service from being restarted.

use crate::machine::{Machine, Scene, Trouble};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::{AbortHandle, JoinSet};
use windlass_reconcile::observed::Observed;
use windlass_reconcile::spec::{ServiceKey, Wanted};
use windlass_reconcile::step::Step;

/// A pull that ended.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) step: Step,
    pub(super) image: String,
    pub(super) observed: Observed,
    pub(super) result: Result<(), Trouble>,
}

/// Pulls under way.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    tasks: JoinSet<Pulled>,
    under_way: BTreeMap<String, AbortHandle>,
    ended: Vec<Pulled>,
}

impl Pulls {
    /// Begins one, unless it is under way.
    pub(super) fn begin<M: Machine>(
        &mut self,
        machine: &Arc<M>,
        scene: &Scene,
        step: &Step,
        observed: &Observed,
        service: &ServiceKey,
        image: &str,
    ) {
        if self.under_way.contains_key(image) {
            tracing::debug!(%service, image, "is being pulled already");
            return;
        }
        let (machine, scene) = (Arc::clone(machine), scene.clone());
        let (step, observed, name) = (step.clone(), observed.clone(), image.to_owned());
        let task = self.tasks.spawn(async move {
            let result = machine.execute(&scene, &step).await;
            Pulled {
                step,
                image: name,
                observed,
                result,
            }
        });
        self.under_way.insert(image.to_owned(), task);
    }

    /// The images under way.
    pub(super) fn images(&self) -> BTreeSet<String> {
        self.under_way.keys().cloned().collect()
    }

    /// Drops pulls of what nobody wants any more.
    pub(super) fn keep_only(&mut self, wanted: &Wanted) {
        let images: BTreeSet<&String> = wanted.services.values().map(|s| &s.image).collect();
        self.under_way.retain(|image, task| {
            let keep = images.contains(image);
            if !keep {
                task.abort();
            }
            keep
        });
    }

    /// Those that ended since.
    pub(super) fn ended(&mut self) -> Vec<Pulled> {
        while let Some(joined) = self.tasks.try_join_next() {
            self.joined(joined);
        }
        std::mem::take(&mut self.ended)
    }

    /// Returns when one has ended; never while none is under way. Dropped half-way, it forgets nothing.
    pub(super) async fn one_ended(&mut self) {
        match self.tasks.join_next().await {
            Some(joined) => self.joined(joined),
            None => std::future::pending().await,
        }
    }

    fn joined(&mut self, joined: Result<Pulled, tokio::task::JoinError>) {
        match joined {
            Ok(pulled) => {
                self.under_way.remove(&pulled.image);
                self.ended.push(pulled);
            }
            Err(error) => {
                // Aborted ones were taken off the list; one that panicked must not stay on it.
                if error.is_panic() {
                    tracing::error!(%error, "a pull ended in a way it never should");
                }
                self.under_way.retain(|_, task| !task.is_finished());
            }
        }
    }
}
