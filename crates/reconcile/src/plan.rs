//! The decision: one step, and a view of each service.
//!
//! Every service is looked at by itself and says what it would do; of these steps the first by
//! `turn::Rank` is done, those of one rank in order of dependencies. Nothing is carried over from one
//! plan to the next but what the engine shows and memory holds, so a plan that was cut off is made again.

mod bring;
mod collect;
mod gates;
mod going;
mod image;
mod keep;
mod look;
mod serve;
mod shown;
mod turn;
mod verify;

use crate::memory::Memory;
use crate::observed::Observed;
use crate::settings::Settings;
use crate::spec::{ServiceKey, Wanted};
use crate::step::Step;
use crate::view::{Phase, ServiceView};
use chrono::{DateTime, Utc};
use look::Look;
use serde::{Deserialize, Serialize};
use turn::Turn;

/// What a device does next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The step; none where nothing is to be done now.
    pub step: Option<Step>,
    /// One for each service that is wanted, refused or there, in order of their ids.
    pub views: Vec<ServiceView>,
    /// When something can be due though nothing has changed.
    pub look_again_at: Option<DateTime<Utc>>,
    /// Why nothing of the target is done: it has a version below the one that was taken.
    pub refused: Option<String>,
}

/// Decides what is done next. Equal input gives equal output, in whatever order containers and images
/// are listed.
#[must_use]
pub fn plan(
    wanted: &Wanted,
    observed: &Observed,
    memory: &Memory,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Plan {
    let look = Look::new(wanted, observed, memory, settings, now);
    let mut turns: Vec<(ServiceKey, Turn)> = Vec::new();
    for key in look.in_order() {
        let turn = match wanted.services.get(&key) {
            _ if observed.left.contains(&key) => left(&look, key),
            Some(spec) if spec.running => serve::turn(&look, key),
            Some(_) => going::stopped(&look, key),
            None if wanted.refused.contains_key(&key) => Turn::refused(&look, key),
            None => going::gone(&look, key),
        };
        turns.push((key, put_aside(&look, key, turn)));
    }
    let refused = memory.refusal(wanted.version);
    let step = if refused.is_some() {
        None
    } else if wanted.version > memory.version {
        Some(Step::Accept {
            version: wanted.version,
        })
    } else {
        let steps = turns.iter().filter_map(|(_, turn)| turn.step.as_ref());
        let mut steps: Vec<_> = steps.cloned().collect();
        steps.extend(collect::steps(&look));
        // The first of the lowest rank: `min_by_key` keeps the first of equals.
        steps
            .into_iter()
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, step)| step)
    };
    let look_again_at = turns
        .iter()
        .filter_map(|(_, turn)| turn.due)
        .chain(observed.aside.values().map(|aside| aside.until))
        .filter(|due| *due > now)
        .min();
    let mut views: Vec<ServiceView> = turns
        .into_iter()
        .map(|(key, turn)| shown::view(&look, key, turn))
        .collect();
    views.sort_by_key(|view| view.key);
    Plan {
        step,
        views,
        look_again_at,
        refused,
    }
}

/// Nothing is done to a service in somebody else's hands, and where something of it is there, that is told.
fn left(look: &Look<'_>, key: ServiceKey) -> Turn {
    if look.containers(key).iter().any(|c| c.is_active()) {
        return Turn::wait(Phase::Waiting, "whoever holds its container", None);
    }
    Turn::rest(Phase::Stopped)
}

/// A service that was put aside does nothing until then.
fn put_aside(look: &Look<'_>, key: ServiceKey, mut turn: Turn) -> Turn {
    if let Some(aside) = look.aside(&key.to_string())
        && turn.step.take().is_some()
    {
        turn.waits = Some((aside.message.clone(), Some(aside.until)));
    }
    turn
}
