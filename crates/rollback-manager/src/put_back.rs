//! Putting devices back, each on its own last good image.

mod group;

pub(crate) use group::{Done, Why, put_back_group};

use crate::each::Trouble;
use crate::outcome::Ends;
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::rollbacks::{self, Presence, Scope};
use windlass_store::{Result, rollouts};
use windlass_types::ids::RolloutId;
use windlass_types::rollout::RolloutStatus;

/// Puts back a group of each rollout's devices that are to go back: failed ones, those that have a
/// quarantined digest in their target without running it, those that were ordered back, and all of a
/// rollout that is taken back.
///
/// # Errors
/// Whatever the store says; groups put back before stay so.
pub async fn run(deps: &Deps, group: i64) -> Result<Next> {
    let mut more = false;
    let mut trouble = Trouble::default();
    for (scope, why) in [
        (Scope::Failed, Why::Failed),
        (Scope::Quarantined, Why::Quarantined),
        (Scope::Ordered, Why::Ordered),
        (Scope::All, Why::RolloutTakenBack),
    ] {
        let mut read = deps.store.read().await?;
        let due = rollbacks::rollouts_to_put_back(&mut read, scope).await?;
        drop(read);
        for rollout in due {
            // Silent devices get their target at once; the others a few at a time.
            for who in [Presence::Silent, Presence::There] {
                let done = one_group(deps, rollout, (scope, who), why, group).await;
                more |= trouble.note(rollout, done).unwrap_or(false);
            }
        }
    }
    trouble.end(if more { Next::Again } else { Next::Idle })
}

/// Returns whether there may be more of the same.
async fn one_group(
    deps: &Deps,
    id: RolloutId,
    (scope, who): (Scope, Presence),
    why: Why,
    group: i64,
) -> Result<bool> {
    let mut tx = deps.store.begin().await?;
    let Some(rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(false);
    };
    if scope == Scope::All && rollout.status != RolloutStatus::RollingBack {
        return Ok(false);
    }
    let room = match who {
        Presence::Any | Presence::Silent => group,
        Presence::There => {
            let most = i64::from(rollout.rule.failure.rollback_max_in_flight);
            group.min(most - rollbacks::on_the_way(&mut tx, id).await?)
        }
    };
    if room <= 0 {
        return Ok(false);
    }
    let found = rollbacks::candidates(&mut tx, id, scope, who, room).await?;
    let full = i64::try_from(found.len()).unwrap_or(i64::MAX) >= room;
    if found.is_empty() {
        return Ok(false);
    }
    let mut ends = Ends::default();
    let done = put_back_group(&mut tx, &rollout, found, why, &mut ends).await?;
    deps.commit(tx).await?;
    ends.tell();
    Ok(full && done.settled > 0)
}
