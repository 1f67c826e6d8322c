//! A rollout that is taken back is done when each reachable device is.

use crate::NAME;
use crate::each::Trouble;
use serde_json::json;
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::rollbacks::{self, Presence, Scope};
use windlass_store::{Result, events, rollouts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::RolloutId;
use windlass_types::rollout::{BatchProgress, RolloutStatus};

/// Ends each rollout that is taken back and has nobody on the way. Silent devices are not waited
/// for: they go back when they are there again.
///
/// # Errors
/// Whatever the store says; rollouts ended before stay so.
pub async fn run(deps: &Deps, _group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let mut done = Vec::new();
    let mut trouble = Trouble::default();
    for id in rollbacks::rolling_back(&mut read).await? {
        let open = rollbacks::still_rolling_back(&mut read, id).await;
        if trouble.note(id, open) == Some(false) {
            done.push(id);
        }
    }
    drop(read);
    for id in done {
        trouble.note(id, end(deps, id).await);
    }
    trouble.end(Next::Idle)
}

async fn end(deps: &Deps, id: RolloutId) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let Some(mut rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(());
    };
    let open = rollout.status != RolloutStatus::RollingBack
        || rollbacks::still_rolling_back(&mut tx, id).await?
        || !rollbacks::candidates(&mut tx, id, Scope::All, Presence::Any, 1)
            .await?
            .is_empty();
    if open {
        return tx.rollback().await;
    }
    rollout.status = RolloutStatus::RolledBack;
    rollout.finished_at = Some(tx.now());
    if !rollouts::save(&mut tx, &rollout).await? {
        return tx.rollback().await;
    }
    let batches = rollouts::progress(&mut tx, id).await?;
    let sum = |count: fn(&BatchProgress) -> i64| batches.iter().map(count).sum::<i64>();
    let event = NewEvent::new(EventType::RollbackCompleted, NAME)
        .rollout(rollout.id, rollout.correlation_id)
        .data(json!({
            "rolled_back": sum(|b| b.rolled_back),
            "rollback_failed": sum(|b| b.rollback_failed),
            "silent": sum(|b| b.rolling_back),
        }))
        .stands(&rollout);
    events::append(&mut tx, event).await?;
    deps.commit(tx).await
}
