//! The next step of a rollout: commands first, then batches, gate by gate; and for a rollout that
//! does not move, what it waits for and until when. See docs/adr/0006-planner.md and 0010-gates.md.
//!
//! This is the only place that knows the order of the gates. Before devices of a batch are admitted:
//! nothing halts it (paused, quarantined, rollback ordered, failure budget) → no freeze → for the
//! first batch the approval and the start time; for the others that the batch before is complete, its
//! delay over, its checks passed, and the approval → a maintenance window → the limits.

mod admit;
mod command;
mod edge;
pub mod estimate;
mod gates;
mod step;
mod wait;

pub use edge::Edge;
pub use wait::{ApprovalOf, Limit, Wait};

use chrono::{DateTime, Utc};
use windlass_types::facts::RolloutFacts;
use windlass_types::ids::CommandId;
use windlass_types::policy::{RolloutRule, Strategy};
use windlass_types::rollout::{
    Approval, BatchProgress, CommandKind, CommandOutcome, GateCheck, Rollout, RolloutStatus,
};

/// Everything the next step depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The rollout and all that is known of it.
    pub facts: &'a RolloutFacts,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A command and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The command.
    pub command: CommandId,
    /// What becomes of it.
    pub outcome: CommandOutcome,
    /// Why, where that needs saying.
    pub detail: Option<String>,
}

/// What to do, and what is waited for then.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The steps, in this order.
    pub edges: Vec<Edge>,
    /// The commands that are carried out or refused by them.
    pub settled: Vec<Settled>,
    /// The rollout afterwards.
    pub after: Rollout,
    /// What it waits for afterwards; none once it has ended.
    pub waits_for: Option<Wait>,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.edges.is_empty() && self.settled.is_empty()
    }
}

/// The status a new rollout begins with; planning it puts it right where something else holds.
#[must_use]
pub fn first_status(rule: &RolloutRule) -> RolloutStatus {
    if rule.approval_before().is_some() {
        return RolloutStatus::AwaitingApproval;
    }
    match rule.strategy {
        Strategy::Scheduled => RolloutStatus::Scheduled,
        Strategy::Auto | Strategy::Staged | Strategy::Canary | Strategy::Ab | Strategy::Manual => {
            RolloutStatus::Pending
        }
    }
}

/// What to do about a rollout now. Planning the result again gives nothing to do, with one exception:
/// after [`Edge::Retried`] only the store can tell who is to be admitted, so that is planned next time.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut work = Work::new(input);
    let mut settled = Vec::new();
    for command in &input.facts.commands {
        // Whoever asks for the next batch does not lose because nobody had noted the end of this one.
        if command.kind == CommandKind::NextBatch
            && let Some(edges) = work.unnoted_end()
        {
            edges.into_iter().for_each(|edge| work.take(edge));
        }
        let Some((outcome, detail, edge)) = command::decide(command, &work) else {
            continue;
        };
        settled.push(Settled {
            command: command.id,
            outcome,
            detail,
        });
        if let Some(edge) = edge {
            work.take(edge);
        }
    }
    // Each step raises the batch, admits somebody, or ends, pauses or completes something; a status
    // before the first batch is changed to the one that stays. So this ends.
    let waits_for = loop {
        match work.step() {
            Step::Take(edges) => edges.into_iter().for_each(|edge| work.take(edge)),
            Step::Wait(wait) => break Some(wait),
            Step::Ended => break None,
        }
    };
    Plan {
        edges: work.edges,
        settled,
        after: work.rollout,
        waits_for,
    }
}

enum Step {
    Take(Vec<Edge>),
    Wait(Wait),
    Ended,
}

/// A rollout being moved on in thought.
struct Work<'a> {
    facts: &'a RolloutFacts,
    now: DateTime<Utc>,
    rollout: Rollout,
    batches: Vec<BatchProgress>,
    approvals: Vec<Approval>,
    checks: Vec<GateCheck>,
    /// Devices admitted by this plan.
    admitted: i64,
    /// Devices of earlier batches on their way that were admitted along with the present one.
    tried_again: i64,
    /// Whether a person resumed it in this plan.
    forgiven: bool,
    /// Whether it is unknown who is pending: devices were put back in line.
    recount: bool,
    /// Whether a rollback of all was ordered by this plan.
    rollback_ordered: bool,
    edges: Vec<Edge>,
}

impl<'a> Work<'a> {
    fn new(input: &Input<'a>) -> Self {
        let facts = input.facts;
        Self {
            facts,
            now: input.now,
            rollout: facts.rollout.clone(),
            batches: facts.batches.clone(),
            approvals: facts.approvals.clone(),
            checks: facts.checks.clone(),
            admitted: 0,
            tried_again: facts.tried_again,
            forgiven: false,
            recount: false,
            rollback_ordered: false,
            edges: Vec::new(),
        }
    }

    fn take(&mut self, edge: Edge) {
        match &edge {
            Edge::Approved {
                batch,
                actor,
                reason,
            } => self.approvals.push(Approval {
                batch: *batch,
                actor: actor.clone(),
                reason: reason.clone(),
                approved_at: self.now,
            }),
            Edge::Admitted { batch, at_most, .. } => self.admit(*batch, *at_most),
            Edge::Resumed { actor, waives } => {
                self.forgiven = true;
                for check in self.checks.iter_mut().filter(|c| Some(c.batch) == *waives) {
                    check.waived_by = Some(actor.clone());
                }
            }
            Edge::Retried { .. } => {
                self.recount = true;
                self.checks.clear();
            }
            Edge::RollbackOrdered { .. } => self.rollback_ordered = true,
            Edge::Waiting { .. }
            | Edge::BatchStarted { .. }
            | Edge::BatchCompleted { .. }
            | Edge::DelayCut { .. }
            | Edge::FreezeOverridden { .. }
            | Edge::Completed
            | Edge::Failed { .. }
            | Edge::Paused { .. }
            | Edge::Cancelled { .. } => {}
        }
        edge::apply(&mut self.rollout, &edge, self.now);
        self.edges.push(edge);
    }

    /// How the batch admitted last stands.
    fn present(&self) -> BatchProgress {
        let batch = self.rollout.current_batch;
        let found = self.batches.iter().find(|p| p.batch == batch);
        found.cloned().unwrap_or_default()
    }

    /// Devices on their way that the end of the present batch waits for: its own, and those of earlier
    /// ones that were admitted along with it. Others of earlier batches have been silent since they were
    /// admitted, or their batch would not have ended: when such a one is back, nobody waits for it.
    fn on_the_way(&self) -> i64 {
        self.present().in_flight().saturating_add(self.tried_again)
    }

    /// Devices of a batch and of those before it that are not admitted.
    fn pending_up_to(&self, batch: i64) -> i64 {
        let batches = self.batches.iter().filter(|p| p.batch <= batch);
        batches.fold(0, |sum: i64, p| sum.saturating_add(p.pending))
    }
}

#[cfg(test)]
mod tests;
