//! What each device is to run, worked out once for all devices with the same states.

use std::collections::{BTreeMap, BTreeSet};
use windlass_core::verdict::{Shipped, Wanted, wanted_of};
use windlass_store::verdicts::{InFlight, Shipment};
use windlass_store::{Result, Session, targets};
use windlass_types::ids::{RolloutId, StateId};
use windlass_types::target::TargetState;

/// The target states of a group of devices.
pub(crate) struct Targets {
    states: BTreeMap<StateId, TargetState>,
    known: BTreeMap<(RolloutId, StateId, Option<StateId>), Vec<Wanted>>,
}

impl Targets {
    /// Reads the states that these rows name.
    pub(crate) async fn load(session: &mut Session, rows: &[InFlight]) -> Result<Self> {
        let ids: BTreeSet<StateId> = rows
            .iter()
            .flat_map(|row| [Some(row.state), row.old_state])
            .flatten()
            .collect();
        let ids: Vec<StateId> = ids.into_iter().collect();
        Ok(Self {
            states: targets::states(session, &ids).await?,
            known: BTreeMap::new(),
        })
    }

    /// The services the device is judged by; none where its target has moved on.
    pub(crate) fn wanted(&mut self, row: &InFlight, shipment: &Shipment) -> Vec<Wanted> {
        let states = &self.states;
        self.known
            .entry((row.rollout, row.state, row.old_state))
            .or_insert_with(|| {
                let Some(present) = states.get(&row.state) else {
                    return Vec::new();
                };
                let shipped = Shipped {
                    repository: &shipment.repository,
                    tag_rule: &shipment.tag_rule,
                    tag: shipment.tag.as_deref(),
                    digest: shipment.digest.as_ref(),
                };
                wanted_of(
                    present,
                    row.old_state.and_then(|id| states.get(&id)),
                    shipped,
                )
            })
            .clone()
    }
}
