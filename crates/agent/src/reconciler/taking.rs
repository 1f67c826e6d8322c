//! Watch mode's part of a look: what is taken and let go, before anything is planned.

use super::{LOOK, Reconciler, Turn, no_answer};
use crate::machine::{Machine, Scene, Trouble};
use crate::taking::{Round, Taken, decide};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use windlass_reconcile::memory::FailureClass;
use windlass_reconcile::observed::Observed;
use windlass_reconcile::outcome::StepFailure;

/// How long one container may take to tell all that it has, and how long all of one look may.
const ONE: Duration = Duration::from_secs(10);
const TAKES: Duration = Duration::from_secs(30);

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
        // Those that are held and stopped are let go also where nobody can be taken: an engine that is slow to tell of
        // containers that ask keeps nothing else from being done.
        let candidates = match timeout(LOOK, self.machine.candidates(scene)).await {
            Ok(Ok(candidates)) => Some(candidates),
            Ok(Err(Trouble::Away(reason))) => return Err(Trouble::Away(reason)),
            Ok(Err(Trouble::Failed(failure))) => {
                tracing::warn!(error = failure.message, "nothing is taken");
                None
            }
            Err(_late) => {
                tracing::warn!("nothing is taken: no answer within {} s", LOOK.as_secs());
                None
            }
        };
        let decision = decide(&Round {
            candidates: candidates.as_deref().unwrap_or_default(),
            containers: &observed.containers,
            memory: &scene.memory,
            book: &scene.taken,
            own: self.own.as_deref(),
            understands: watching.understands,
        });
        if candidates.is_some() {
            tell(&mut turn.alone, decision.sentences());
        }
        if decision.changes_nothing() {
            return Ok(false);
        }
        let mut taken = BTreeMap::new();
        let begun = Instant::now();
        for take in &decision.take {
            if begun.elapsed() > TAKES {
                // The others are, with the next look.
                break;
            }
            let asked = timeout(ONE, self.machine.settings(&take.container)).await;
            let settings = match asked.unwrap_or_else(|_| Err(no_answer(ONE))) {
                // One that went meanwhile is seen to be gone.
                Ok(None) => continue,
                Ok(Some(settings)) => settings,
                Err(error) => {
                    tracing::warn!(container = take.name, %error, "it cannot be taken yet");
                    continue;
                }
            };
            tracing::info!(
                container = take.name,
                image = take.image,
                service = %take.key,
                "taken as it is"
            );
            taken.insert(take.key, Taken::new(take, settings));
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
