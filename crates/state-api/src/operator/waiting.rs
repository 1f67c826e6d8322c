//! What a rollout waits for: the planner's own report, not a second opinion.

use windlass_core::plan::{self, Input};
use windlass_store::{Result, Session, rollouts};
use windlass_types::rollout::RolloutView;

/// The rollout with `waiting_for` filled in.
pub(super) async fn fill(session: &mut Session, mut view: RolloutView) -> Result<RolloutView> {
    if view.rollout.status.is_final() {
        return Ok(view);
    }
    let now = session.now();
    let Some(facts) = rollouts::facts(session, view.rollout.id).await? else {
        return Ok(view);
    };
    let plan = plan::plan(&Input { facts: &facts, now });
    view.waiting_for = if plan.is_idle() {
        plan.waits_for.map(|wait| wait.to_string())
    } else {
        Some("the rollout-planner, to take the next step".to_owned())
    };
    Ok(view)
}
