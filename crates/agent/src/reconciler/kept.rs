//! What the loop keeps on disk: the target, the memory, and the claims that a person made.

use crate::adopt;
use crate::machine::{Claims, Scene};
use crate::ship::{self, Shipped};
use crate::state::{self, StateDir, StateError};
use crate::taking::{Book, Taken};
use crate::target::Target;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;
use windlass_reconcile::memory::{Memory, ServiceMemory};
use windlass_reconcile::observed::{ContainerState, Observed};
use windlass_reconcile::spec::{ServiceKey, Wanted};
use windlass_reconcile::view::ServiceView;

/// What is kept.
#[derive(Debug)]
pub struct Kept {
    state: StateDir,
    pub(super) memory: Arc<Memory>,
    target: Option<Arc<Target>>,
    claims: Arc<Claims>,
    claimed_at: Option<SystemTime>,
    pub(super) book: Arc<Book>,
}

impl Kept {
    /// Reads what an earlier run kept. What is broken, with its copy, is put aside: without a target nothing
    /// is touched until the server is asked; without a memory the device has nothing to go back to
    /// by itself until the next update went well.
    ///
    /// # Errors
    /// [`StateError`] where a file is there and cannot be read.
    pub fn open(state: StateDir) -> Result<Self, StateError> {
        let target = recover::<Target>(&state, state::TARGET)?;
        let mut memory = recover::<Memory>(&state, state::MEMORY)?.unwrap_or_default();
        // The higher one: either may be a copy from before.
        let version = target.as_ref().map_or(memory.version, |t| t.version);
        memory.version = memory.version.max(version);
        let mut kept = Self {
            state,
            memory: Arc::new(memory),
            target: target.map(Arc::new),
            claims: Arc::default(),
            claimed_at: None,
            book: Arc::default(),
        };
        kept.book = Arc::new(recover::<Book>(&kept.state, state::TAKEN)?.unwrap_or_default());
        kept.remember_what_was_taken();
        kept.read_claims();
        Ok(kept)
    }

    /// What is held can be gone back to, also where the memory of it is lost: what is not known to be good is sent away
    /// before its successor has proved itself.
    fn remember_what_was_taken(&mut self) {
        let memory = Arc::make_mut(&mut self.memory);
        for (key, taken) in &*self.book {
            let of = memory.services.entry(*key).or_default();
            if of.good.is_none() {
                of.good = taken.spec(*key);
            }
        }
    }

    /// What the target wants; none where there is no target.
    #[must_use]
    pub fn wanted(&self) -> Option<Arc<Wanted>> {
        let target = self.target.as_ref()?;
        Some(Arc::new(Wanted::read(&target.state, target.version)))
    }

    /// The version of the target that was taken.
    #[must_use]
    pub fn version(&self) -> Option<i64> {
        self.target.as_ref().map(|target| target.version)
    }

    pub(super) fn refusal(&self, version: i64) -> Option<String> {
        // The target is on disk before the memory says so.
        let taken = self.version().unwrap_or_default().max(self.memory.version);
        let memory = Memory {
            version: taken,
            ..Memory::default()
        };
        memory.refusal(version)
    }

    /// Writes a target down; false where it is the one that is there.
    pub(super) fn take(&mut self, target: &Arc<Target>) -> Result<bool, StateError> {
        if self.target.as_ref().is_some_and(|old| old.says_as(target)) {
            return Ok(false);
        }
        self.state.write(state::TARGET, &**target)?;
        self.target = Some(Arc::clone(target));
        Ok(true)
    }

    /// Writes a memory down, and only then has it.
    pub(super) fn remember(&mut self, memory: Memory) -> Result<(), StateError> {
        if memory != *self.memory {
            self.state.write(state::MEMORY, &memory)?;
            self.memory = Arc::new(memory);
        }
        Ok(())
    }

    pub(super) fn scene(&mut self, wanted: Arc<Wanted>) -> Scene {
        if self.claims_changed() {
            self.read_claims();
        }
        self.resolve_claims(&wanted);
        let mut claims = Arc::clone(&self.claims);
        if claims.values().any(|claim| claim.fingerprint.is_empty()) {
            Arc::make_mut(&mut claims).retain(|_, claim| !claim.fingerprint.is_empty());
        }
        for (key, taken) in &*self.book {
            if let Some(claim) = taken.claim(*key) {
                Arc::make_mut(&mut claims).insert(taken.container.clone(), claim);
            }
        }
        Scene {
            wanted,
            memory: Arc::clone(&self.memory),
            claims,
            taken: Arc::clone(&self.book),
        }
    }

    /// Writes down what is taken and what is let go. What ran when it was taken is what can be gone back to, so that
    /// comes first: without it, it would be taken once more.
    pub(super) fn enter(
        &mut self,
        taken: BTreeMap<ServiceKey, Taken>,
        let_go: &BTreeMap<ServiceKey, String>,
    ) -> Result<(), StateError> {
        let mut memory = (*self.memory).clone();
        let mut book = (*self.book).clone();
        for key in let_go.keys() {
            memory.services.remove(key);
            book.remove(key);
        }
        for (key, one) in taken {
            let good = one.spec(key);
            // What did not prove itself here is not tried again for another name of the same container.
            let of = memory.services.remove(&key);
            let failed = of.filter(|of| of.good == good).and_then(|of| of.failed);
            let remembered = ServiceMemory {
                good,
                failed,
                ..ServiceMemory::default()
            };
            memory.services.insert(key, remembered);
            book.insert(key, one);
        }
        self.remember(memory)?;
        if book != *self.book {
            self.state.write(state::TAKEN, &book)?;
            self.book = Arc::new(book);
        }
        Ok(())
    }

    /// Names the services that are in somebody else's hands: those of which the book and the target do not say the same,
    /// and those that somebody paused.
    pub(super) fn leave(&self, scene: &Scene, observed: &mut Observed) {
        let wanted = scene.wanted.services.iter();
        let wanted = wanted.filter(|(_, spec)| spec.container.is_taken());
        observed.left.extend(wanted.map(|(key, _)| *key));
        let remembered = self.memory.services.iter();
        let good = |of: &ServiceMemory| {
            let good = of.good.as_ref();
            good.is_some_and(|spec| spec.container.is_taken())
        };
        let remembered = remembered.filter(|(_, of)| good(of));
        observed.left.extend(remembered.map(|(key, _)| *key));
        observed.left.extend(self.book.keys());
        let is_agreed = |key: &ServiceKey| {
            let wanted = scene.wanted.services.get(key);
            let says = wanted.and_then(|spec| spec.container.settings.as_ref());
            says.is_some() && says == self.book.get(key).map(|taken| &taken.settings)
        };
        // Who holds a container still wants it to be.
        let held = observed.containers.iter();
        let held = held.filter(|c| c.state == ContainerState::Paused);
        let held: BTreeSet<ServiceKey> = held.map(|c| c.service).collect();
        observed
            .left
            .retain(|key| !is_agreed(key) || held.contains(key));
    }

    /// Takes back claims whose container is gone for good: another one is in its place, or nobody wants its service. An
    /// engine that has nothing at all may be one whose disk is missing.
    pub(super) fn drop_stale_claims(&mut self, scene: &Scene, observed: &Observed) {
        let there: BTreeSet<&String> = observed.containers.iter().map(|c| &c.id).collect();
        let is_stale = |id: &String, service: ServiceKey| {
            let replaced = observed.containers.iter().any(|c| c.service == service);
            let wanted = scene.wanted.services.contains_key(&service)
                || scene.wanted.refused.contains_key(&service)
                || self.memory.of(service).is_some();
            !there.contains(id) && !there.is_empty() && (replaced || !wanted)
        };
        let claims = self.claims.iter();
        let stale: BTreeSet<String> = claims
            .filter(|(id, claim)| !claim.fingerprint.is_empty() && is_stale(id, claim.service))
            .map(|(id, _)| id.clone())
            .collect();
        if stale.is_empty() {
            return;
        }
        match self.write_without(&stale) {
            Ok(()) => self.read_claims(),
            Err(error) => tracing::warn!(%error, "claims cannot be written down"),
        }
    }

    fn write_without(&self, stale: &BTreeSet<String>) -> Result<(), StateError> {
        let _guard = self.state.guard(state::CLAIMS)?;
        let Some(mut kept) = self.state.read::<Claims>(state::CLAIMS)? else {
            return Ok(());
        };
        kept.value.retain(|id, _| !stale.contains(id));
        self.state.write(state::CLAIMS, &kept.value)
    }

    /// Whose logs the target wants, of these.
    pub(super) fn ships(&self, views: &[ServiceView]) -> Shipped {
        self.target
            .as_ref()
            .map(|target| ship::wanted(&target.state.config, views))
            .unwrap_or_default()
    }

    /// Whether a person made or took back a claim since they were read.
    pub(super) fn claims_changed(&self) -> bool {
        self.changed_at() != self.claimed_at
    }

    /// Claims that were made before their service was in the target stand for what it says first.
    fn resolve_claims(&mut self, wanted: &Wanted) {
        if !self
            .claims
            .values()
            .any(|claim| claim.fingerprint.is_empty())
        {
            return;
        }
        // Another target later must not be taken for the first one.
        match self.write_resolved(wanted) {
            Ok(()) => self.read_claims(),
            Err(error) => tracing::error!(%error, "claims cannot be written down"),
        }
    }

    fn write_resolved(&self, wanted: &Wanted) -> Result<(), StateError> {
        // `adopt` writes them too, and what it wrote meanwhile stays.
        let _guard = self.state.guard(state::CLAIMS)?;
        let Some(mut kept) = self.state.read::<Claims>(state::CLAIMS)? else {
            return Ok(());
        };
        if adopt::resolve(&mut kept.value, wanted) {
            self.state.write(state::CLAIMS, &kept.value)?;
        }
        Ok(())
    }

    fn changed_at(&self) -> Option<SystemTime> {
        let file = std::fs::metadata(self.state.file(state::CLAIMS)).ok()?;
        file.modified().ok()
    }

    fn read_claims(&mut self) {
        self.claimed_at = self.changed_at();
        match self.state.read::<Claims>(state::CLAIMS) {
            Ok(claims) => self.claims = Arc::new(claims.map(|c| c.value).unwrap_or_default()),
            // Those that are known stay.
            Err(error) => tracing::error!(%error, "claims cannot be read"),
        }
    }
}

fn recover<T: DeserializeOwned>(state: &StateDir, name: &str) -> Result<Option<T>, StateError> {
    match state.read::<T>(name) {
        Ok(kept) => Ok(kept.map(|kept| {
            if let Some(reason) = kept.recovered {
                tracing::warn!(file = name, reason, "broken; the copy before it is used");
            }
            kept.value
        })),
        Err(StateError::Broken { path, reason }) => {
            tracing::error!(
                file = name,
                reason,
                "broken, and the copy before it too; put aside"
            );
            for (from, to) in [
                (path.clone(), format!("{name}.broken")),
                (
                    state.file(&format!("{name}.previous")),
                    format!("{name}.previous.broken"),
                ),
            ] {
                let to = state.file(&to);
                match std::fs::rename(&from, &to) {
                    Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                        return Err(StateError::io("write", &to, source));
                    }
                    _ => {}
                }
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
