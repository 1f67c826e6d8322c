//! What the loop keeps on disk: the target, the memory, and the claims that a person made.

use crate::adopt;
use crate::machine::{Claims, Scene};
use crate::ship::{self, Shipped};
use crate::state::{self, StateDir, StateError};
use crate::target::Target;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::SystemTime;
use windlass_reconcile::memory::Memory;
use windlass_reconcile::spec::Wanted;
use windlass_reconcile::view::ServiceView;

/// What is kept.
#[derive(Debug)]
pub struct Kept {
    state: StateDir,
    pub(super) memory: Arc<Memory>,
    target: Option<Arc<Target>>,
    claims: Arc<Claims>,
    claimed_at: Option<SystemTime>,
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
        };
        kept.read_claims();
        Ok(kept)
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
        Scene {
            wanted,
            memory: Arc::clone(&self.memory),
            claims,
        }
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
