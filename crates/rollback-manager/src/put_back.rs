//! Putting devices back, each on its own last good image.

mod group;

pub(crate) use group::{Done, Why, put_back_group};

use crate::each::Trouble;
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::rollbacks::{self, Scope};
use windlass_store::{Result, rollouts};
use windlass_types::ids::RolloutId;
use windlass_types::rollout::RolloutStatus;

/// Puts back a group of each rollout's devices that are to go back: failed ones, those that have a
/// quarantined digest in their target without running it, and all of a rollout that is taken back.
///
/// # Errors
/// Whatever the store says; groups put back before stay so.
pub async fn run(deps: &Deps, group: i64) -> Result<Next> {
    let mut more = false;
    let mut trouble = Trouble::default();
    for (scope, why) in [
        (Scope::Failed, Why::Failed),
        (Scope::Quarantined, Why::Quarantined),
        (Scope::All, Why::RolloutTakenBack),
    ] {
        let mut read = deps.store.read().await?;
        let due = rollbacks::rollouts_to_put_back(&mut read, scope).await?;
        drop(read);
        for rollout in due {
            let done = one_group(deps, rollout, scope, why, group).await;
            more |= trouble.note(rollout, done).unwrap_or(false);
        }
    }
    trouble.end(if more { Next::Again } else { Next::Idle })
}

/// Returns whether there may be more of the same.
async fn one_group(deps: &Deps, id: RolloutId, scope: Scope, why: Why, group: i64) -> Result<bool> {
    let mut tx = deps.store.begin().await?;
    let Some(rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(false);
    };
    if scope == Scope::All && rollout.status != RolloutStatus::RollingBack {
        return Ok(false);
    }
    let rows = rollbacks::candidates(&mut tx, id, scope, group).await?;
    let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= group;
    if rows.is_empty() {
        return Ok(false);
    }
    let done = put_back_group(&mut tx, &rollout, rows, why).await?;
    deps.commit(tx).await?;
    Ok(full && done.settled > 0)
}
