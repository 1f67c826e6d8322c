//! Watch mode's part of a look: what is taken and let go, before anything is planned.

use super::{Reconciler, Turn};
use crate::machine::{Machine, Scene, Trouble};
use crate::taking::{Round, Taken, decide};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::Observed;
use windlass_reconcile::outcome::StepFailure;

impl<M: Machine> Reconciler<M> {
    /// Takes and lets go; whether the book is another one now, and what was seen is to be seen anew.
    pub(super) async fn take(
        &mut self,
        turn: &mut Turn,
        scene: &Scene,
        observed: &Observed,
    ) -> Result<bool, Trouble> {
        let Some(watching) = &self.watching else {
            return Ok(false);
        };
        let candidates = self.machine.candidates(scene).await?;
        let decision = decide(&Round {
            candidates: &candidates,
            containers: &observed.containers,
            memory: &scene.memory,
            book: &scene.taken,
            own: self.own.as_deref(),
            understands: watching.understands,
        });
        tell(&mut turn.alone, decision.sentences());
        if decision.changes_nothing() {
            return Ok(false);
        }
        let mut taken = BTreeMap::new();
        for take in &decision.take {
            // One that went meanwhile is seen to be gone.
            if let Some(settings) = self.machine.settings(&take.container).await? {
                tracing::info!(
                    container = take.name,
                    image = take.image,
                    service = %take.key,
                    "taken as it is"
                );
                taken.insert(take.key, Taken::new(take, settings));
            }
        }
        for why in decision.let_go.values() {
            tracing::info!(why, "let go");
        }
        if taken.is_empty() && decision.let_go.is_empty() {
            return Ok(false);
        }
        self.kept.enter(taken, &decision.let_go).map_err(|error| {
            Trouble::Failed(StepFailure {
                class: FailureClass::Config,
                message: error.to_string(),
            })
        })?;
        self.show_book();
        Ok(true)
    }

    /// Shows what is held to whoever makes the target follow it.
    pub(super) fn show_book(&self) {
        if let Some(watching) = &self.watching {
            watching.book.send_replace(Arc::clone(&self.kept.book));
        }
    }

    /// What is told of containers that are not taken, and of the labels of those that are.
    pub(super) fn left_alone(&self, turn: &Turn) -> Vec<String> {
        let said = self.watching.iter().flat_map(|watching| {
            let said = watching.said.borrow();
            said.iter().cloned().collect::<Vec<_>>()
        });
        turn.alone.iter().cloned().chain(said).collect()
    }
}

fn tell(known: &mut BTreeSet<String>, now: BTreeSet<String>) {
    for sentence in now.difference(known) {
        tracing::warn!(
            why = sentence,
            "a container asks to be taken and is left alone"
        );
    }
    *known = now;
}
