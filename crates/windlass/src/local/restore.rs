//! A database that is lost, or older than what the agent has taken: the agent's folder knows better.

use serde_json::json;
use std::collections::BTreeMap;
use windlass_agent::state::{MEMORY, StateDir, TARGET};
use windlass_agent::target::Target;
use windlass_core::target::state_id;
use windlass_reconcile::memory::Memory;
use windlass_service::Deps;
use windlass_store::{Error, events, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::target::TargetState;

/// Who sets the target, in the audit trail.
const ACTOR: &str = "watch-mode";

/// What the agent had taken when this process began.
#[derive(Debug, Default, PartialEq)]
pub(super) struct HadTaken {
    version: i64,
    state: Option<TargetState>,
}

impl HadTaken {
    /// Reads it. What is broken is the agent's to mend, and says nothing here.
    pub(super) fn read(state: &StateDir) -> Self {
        let target = state.read::<Target>(TARGET).ok().flatten();
        let target = target.map(|kept| kept.value);
        let memory = state.read::<Memory>(MEMORY).ok().flatten();
        let memory = memory.map_or(0, |kept| kept.value.version);
        Self {
            version: memory.max(target.as_ref().map_or(0, |target| target.version)),
            state: target.map(|target| target.state),
        }
    }

    /// Gives the device back what it had taken, above the version that it had, where the store says less.
    pub(super) async fn restore(&self, deps: &Deps, device: DeviceId) -> Result<(), Error> {
        let mut session = deps.store.begin().await?;
        let known = targets::get(&mut session, device).await?;
        let Some((target, before)) = known.filter(|(target, _)| target.version < self.version)
        else {
            return session.rollback().await;
        };
        let state = self.state.clone().unwrap_or(before);
        let id = state_id(&state);
        targets::ensure_states(&mut session, &BTreeMap::from([(id, state)])).await?;
        let lifted = targets::lift(&mut session, device, id, self.version).await?;
        let Some(version) = lifted else {
            return session.rollback().await;
        };
        let event = NewEvent::new(EventType::TargetSet, ACTOR)
            .device(device)
            .version(version)
            .data(json!({"state_id": id, "previous_version": target.version}));
        events::append(&mut session, event).await?;
        deps.commit(session).await?;
        tracing::warn!(
            version,
            "the database is older than what the agent has taken; the agent's target is in force again"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests;
