//! What a rollout waits for: the planner's own report, not a second opinion.

use windlass_core::plan::{self, Input};
use windlass_store::{Result, Session, rollouts};
use windlass_types::rollout::RolloutView;

/// The rollout with what it waits for, who approved it, its checks and the freezes that hold it.
pub(super) async fn fill(session: &mut Session, mut view: RolloutView) -> Result<RolloutView> {
    let id = view.rollout.id;
    if view.rollout.status.is_final() {
        view.approvals = rollouts::approvals(session, id).await?;
        view.checks = rollouts::checks(session, id, view.rollout.current_batch).await?;
        return Ok(view);
    }
    let now = session.now();
    let Some(facts) = rollouts::facts(session, id).await? else {
        return Ok(view);
    };
    let plan = plan::plan(&Input { facts: &facts, now });
    view.waiting_for = if plan.is_idle() {
        plan.waits_for.map(|wait| wait.to_string())
    } else {
        Some("the rollout-planner, to take the next step".to_owned())
    };
    view.approvals = facts.approvals;
    view.checks = facts.checks;
    let overridden = view.rollout.freeze_override_at;
    view.freezes = facts.freezes;
    view.freezes
        .retain(|freeze| freeze.is_in_force(now) && freeze.holds_in_spite_of(overridden));
    Ok(view)
}
