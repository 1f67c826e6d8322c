//! The next step of a rollout: commands first, then batches; and for a rollout that does not move,
//! what it waits for and until when. See docs/adr/0006-planner.md.

mod command;
mod wait;

pub use wait::Wait;

use crate::budget;
use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::facts::RolloutFacts;
use windlass_types::ids::CommandId;
use windlass_types::policy::Strategy;
use windlass_types::rollout::{
    BatchProgress, CommandKind, CommandOutcome, Rollout, RolloutStatus, StatusReason,
};

/// Everything the next step depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The rollout and all that is known of it.
    pub facts: &'a RolloutFacts,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A step of a rollout, named by what it does to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// A person approved it; it may begin.
    Approved,
    /// The next batch is opened: its devices may be admitted.
    BatchStarted {
        /// The batch, from 1.
        batch: i64,
    },
    /// Devices of the open batch get their targets.
    Admitted {
        /// The batch, from 1.
        batch: i64,
        /// How many at most; fewer where a limit by tag holds some back.
        at_most: i64,
        /// Only devices of these time zones (none: those without one); all where not given.
        time_zones: Option<Vec<Option<String>>>,
    },
    /// Every reachable device of the present batch is done.
    BatchCompleted {
        /// The batch, from 1.
        batch: i64,
        /// When the next one may start; for the last batch, now.
        next_batch_at: DateTime<Utc>,
    },
    /// All batches are done.
    Completed,
    /// It admits nobody until it is resumed.
    Paused {
        /// Why.
        reason: StatusReason,
        /// The same for people.
        detail: String,
    },
    /// It goes on. Its failures up to now no longer count against its budget.
    Resumed,
    /// An operator ended it.
    Cancelled {
        /// Why, in the operator's words.
        detail: String,
    },
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

/// The status a new rollout begins with.
#[must_use]
pub const fn first_status(strategy: Strategy) -> RolloutStatus {
    match strategy {
        Strategy::Auto | Strategy::Staged | Strategy::Canary | Strategy::Ab => {
            RolloutStatus::Pending
        }
        Strategy::Manual => RolloutStatus::AwaitingApproval,
        Strategy::Scheduled => RolloutStatus::Scheduled,
    }
}

/// What to do about a rollout now. Planning the result again gives nothing to do.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut work = Work {
        input,
        rollout: input.facts.rollout.clone(),
        edges: Vec::new(),
    };
    let mut settled = Vec::new();
    for command in &input.facts.commands {
        if let Some((outcome, detail, edge)) =
            command::decide(command, &work.rollout, input.facts.quarantined)
        {
            settled.push(Settled {
                command: command.id,
                outcome,
                detail,
            });
            if let Some(edge) = edge {
                work.take(edge);
            }
        }
    }
    // Each step raises the batch or ends, pauses or completes something, so this ends.
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
    input: &'a Input<'a>,
    rollout: Rollout,
    edges: Vec<Edge>,
}

impl Work<'_> {
    fn take(&mut self, edge: Edge) {
        apply(&mut self.rollout, &edge, self.input.now);
        self.edges.push(edge);
    }

    fn step(&self) -> Step {
        match self.rollout.status {
            RolloutStatus::Pending => self.halted().unwrap_or_else(|| self.start(1)),
            RolloutStatus::AwaitingApproval => Step::Wait(Wait::Approval),
            RolloutStatus::Scheduled => Step::Wait(Wait::StartTime),
            RolloutStatus::InProgress => self.halted().unwrap_or_else(|| self.in_progress()),
            RolloutStatus::Paused => Step::Wait(Wait::Operator {
                reason: self.rollout.status_reason,
                detail: self.rollout.status_detail.clone(),
            }),
            RolloutStatus::RollingBack => Step::Wait(Wait::Rollback),
            RolloutStatus::Completed
            | RolloutStatus::Failed
            | RolloutStatus::Cancelled
            | RolloutStatus::Superseded
            | RolloutStatus::RolledBack => Step::Ended,
        }
    }

    /// What keeps a rollout that is not paused from admitting anybody.
    fn halted(&self) -> Option<Step> {
        let commands = &self.input.facts.commands;
        if commands.iter().any(|c| c.kind == CommandKind::RollbackAll) {
            return Some(Step::Wait(Wait::Rollback));
        }
        self.input.facts.quarantined.then(|| {
            Step::Take(vec![Edge::Paused {
                reason: StatusReason::Quarantined,
                detail: format!(
                    "{} is in quarantine",
                    self.rollout
                        .digest
                        .as_ref()
                        .map_or("the digest", |d| d.short())
                ),
            }])
        })
    }

    fn in_progress(&self) -> Step {
        let batch = self.rollout.current_batch;
        let progress = self.present();
        let started = self.edges.contains(&Edge::BatchStarted { batch });
        let open = if started {
            progress.total
        } else {
            progress.pending + progress.in_flight()
        };
        let ended = open == 0 || self.rollout.next_batch_at.is_some();
        if let Some(detail) = self.over_budget(ended) {
            return Step::Wait(Wait::Budget { detail });
        }
        let last = batch >= self.rollout.batch_count;
        match self.rollout.next_batch_at {
            None if open > 0 || started => Step::Wait(Wait::Devices {
                batch,
                batches: self.rollout.batch_count,
                open,
                total: progress.total,
                until: self.input.facts.devices_until.filter(|_| !started),
            }),
            None => {
                let delay = i64::from(self.rollout.rule.batch_delay_seconds);
                let delay = if last {
                    TimeDelta::zero()
                } else {
                    TimeDelta::seconds(delay)
                };
                let mut edges = vec![Edge::BatchCompleted {
                    batch,
                    next_batch_at: self.input.now + delay,
                }];
                edges.extend(self.without_evidence(last));
                Step::Take(edges)
            }
            Some(_) if last => Step::Take(vec![Edge::Completed]),
            Some(at) if at <= self.input.now => self.start(batch + 1),
            Some(at) => Step::Wait(Wait::Delay {
                batch: batch + 1,
                until: at,
            }),
        }
    }

    fn start(&self, batch: i64) -> Step {
        debug_assert!(batch <= self.rollout.batch_count, "a batch beyond the last");
        Step::Take(vec![
            Edge::BatchStarted { batch },
            Edge::Admitted {
                batch,
                at_most: i64::MAX,
                time_zones: None,
            },
        ])
    }

    /// How the batch admitted last stands.
    fn present(&self) -> BatchProgress {
        let batch = self.rollout.current_batch;
        let found = self
            .input
            .facts
            .batches
            .iter()
            .find(|progress| progress.batch == batch);
        found.cloned().unwrap_or_default()
    }

    fn over_budget(&self, batch_ended: bool) -> Option<String> {
        if self.edges.contains(&Edge::Resumed) {
            return None;
        }
        let rule = &self.rollout.rule.failure;
        budget::exceeded(
            &self.input.facts.failures,
            rule,
            self.rollout.current_batch,
            batch_ended,
        )
        .map(|exceeded| exceeded.detail)
    }

    /// A batch after which nobody has been judged yet says nothing about the image. Only where the
    /// last batch has nobody left who could be judged, there is nothing to wait for.
    fn without_evidence(&self, last: bool) -> Option<Edge> {
        let admitted = self.rollout.current_batch;
        let (mut attempted, mut unreachable, mut skipped) = (0, 0, 0);
        for progress in self
            .input
            .facts
            .batches
            .iter()
            .filter(|p| p.batch <= admitted)
        {
            attempted += progress.attempted;
            unreachable += progress.unreachable;
            skipped += progress.skipped;
        }
        let nothing_known = attempted == 0 && (unreachable > 0 || !last);
        nothing_known.then(|| Edge::Paused {
            reason: StatusReason::NoEvidence,
            detail: format!(
                "no device could be judged so far: {unreachable} unreachable, {skipped} skipped"
            ),
        })
    }
}

/// What an edge does to a rollout.
fn apply(rollout: &mut Rollout, edge: &Edge, now: DateTime<Utc>) {
    match edge {
        Edge::Approved => rollout.status = RolloutStatus::Pending,
        Edge::BatchStarted { batch } => {
            rollout.status = RolloutStatus::InProgress;
            rollout.current_batch = *batch;
            rollout.next_batch_at = None;
            rollout.started_at = rollout.started_at.or(Some(now));
        }
        Edge::Admitted { .. } => {}
        Edge::BatchCompleted { next_batch_at, .. } => rollout.next_batch_at = Some(*next_batch_at),
        Edge::Completed => end(rollout, RolloutStatus::Completed, now),
        Edge::Paused { reason, detail } => {
            rollout.status = RolloutStatus::Paused;
            rollout.status_reason = Some(*reason);
            rollout.status_detail = Some(detail.clone());
        }
        Edge::Resumed => {
            rollout.status = if rollout.current_batch == 0 {
                RolloutStatus::Pending
            } else {
                RolloutStatus::InProgress
            };
            rollout.status_reason = None;
            rollout.status_detail = None;
        }
        Edge::Cancelled { detail } => {
            end(rollout, RolloutStatus::Cancelled, now);
            rollout.status_reason = Some(StatusReason::Operator);
            rollout.status_detail = Some(detail.clone());
        }
    }
}

fn end(rollout: &mut Rollout, status: RolloutStatus, now: DateTime<Utc>) {
    rollout.status = status;
    rollout.next_batch_at = None;
    rollout.finished_at = Some(now);
}

#[cfg(test)]
mod tests;
