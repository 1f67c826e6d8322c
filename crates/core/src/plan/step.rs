//! One step of a rollout by its status.

use super::{Edge, Step, Wait, Work};
use crate::budget;
use chrono::TimeDelta;
use windlass_types::policy::Strategy;
use windlass_types::rollout::{CommandKind, RolloutStatus, StatusReason};

impl Work<'_> {
    pub(super) fn step(&self) -> Step {
        match self.rollout.status {
            RolloutStatus::Pending | RolloutStatus::AwaitingApproval | RolloutStatus::Scheduled => {
                self.halted().unwrap_or_else(|| self.not_begun())
            }
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
        let ordered = self.facts.commands.iter().any(|command| {
            matches!(
                command.kind,
                CommandKind::RollbackAll | CommandKind::RollbackBatch
            )
        });
        if ordered || self.rollback_ordered {
            return Some(Step::Wait(Wait::Rollback));
        }
        let paused = |reason, detail| Step::Take(vec![Edge::Paused { reason, detail }]);
        if self.facts.quarantined {
            let digest = self.rollout.digest.as_ref();
            let digest = digest.map_or("the digest", |d| d.short());
            let detail = format!("{digest} is in quarantine");
            return Some(paused(StatusReason::Quarantined, detail));
        }
        let unsigned = self.facts.unsigned.as_ref();
        unsigned.map(|why| paused(StatusReason::Unsigned, why.clone()))
    }

    /// Before the first batch. The status tells approval and time apart; a freeze or a limit is a wait
    /// alone.
    fn not_begun(&self) -> Step {
        let frozen = self.frozen();
        let held = self
            .approval(1)
            .map(|wait| (RolloutStatus::AwaitingApproval, wait));
        let held = held.or_else(|| Some((RolloutStatus::Scheduled, self.start_time()?)));
        let (status, wait) = match (held, frozen) {
            (Some((status, _)), Some(frozen)) => (status, frozen),
            (Some(held), None) => held,
            // What waited for a window when the freeze came goes on looking like that.
            (None, Some(frozen)) if self.rollout.status == RolloutStatus::Scheduled => {
                (RolloutStatus::Scheduled, frozen)
            }
            (None, Some(frozen)) => (RolloutStatus::Pending, frozen),
            (None, None) => match self.start(1) {
                Ok(edges) => return Step::Take(edges),
                Err(wait @ Wait::Window { .. }) => (RolloutStatus::Scheduled, wait),
                Err(wait) => (RolloutStatus::Pending, wait),
            },
        };
        if self.rollout.status == status {
            Step::Wait(wait)
        } else {
            Step::Take(vec![Edge::Waiting { status }])
        }
    }

    fn in_progress(&self) -> Step {
        let batch = self.rollout.current_batch;
        if self.recount {
            return Step::Wait(Wait::Retry {
                batch,
                devices: 0,
                at: self.now,
            });
        }
        let on_the_way = self.on_the_way();
        let pending = self.pending_up_to(batch);
        let ended = self.rollout.next_batch_at.is_some();
        if let Some(detail) = self.over_budget(ended || pending + on_the_way == 0) {
            return Step::Wait(Wait::Budget { detail });
        }
        if pending > 0 {
            return match self.frozen() {
                Some(frozen) => Step::Wait(frozen),
                None => match self.admission(batch) {
                    Ok(edge) => Step::Take(edge.into_iter().collect()),
                    Err(wait) => Step::Wait(wait),
                },
            };
        }
        match self.rollout.next_batch_at {
            None if on_the_way > 0 => Step::Wait(self.devices()),
            None => Step::Take(self.complete()),
            Some(at) => self.between(at),
        }
    }

    /// The present batch is complete: what stands before the next one, or the end.
    fn between(&self, delay_until: chrono::DateTime<chrono::Utc>) -> Step {
        let batch = self.rollout.current_batch;
        // A verdict of the checks stands whatever else holds the rollout.
        if let Some(edge) = self.checks_against() {
            return Step::Take(vec![edge]);
        }
        let next = batch + 1;
        if batch >= self.rollout.batch_count {
            return self
                .open_checks()
                .map_or_else(|| Step::Take(vec![self.end()]), Step::Wait);
        }
        let held = self
            .frozen()
            .or_else(|| self.delay(delay_until))
            .or_else(|| self.open_checks())
            .or_else(|| self.approval(next));
        if let Some(wait) = held {
            return Step::Wait(wait);
        }
        match self.start(next) {
            Ok(edges) => Step::Take(edges),
            Err(wait) => Step::Wait(wait),
        }
    }

    /// How it ends: what failed wherever it was judged is no success, though a person let it go on.
    fn end(&self) -> Edge {
        let (mut failed, mut healthy) = (0, 0);
        for progress in &self.batches {
            failed += progress.attempted_failed + progress.environment_failed;
            healthy += progress.attempted - progress.attempted_failed;
        }
        if healthy > 0 || failed == 0 {
            return Edge::Completed;
        }
        Edge::Failed {
            detail: format!("{failed} devices failed and none is healthy"),
        }
    }

    /// Opens a batch together with its first devices; one without any at once.
    fn start(&self, batch: i64) -> Result<Vec<Edge>, Wait> {
        debug_assert!(batch <= self.rollout.batch_count, "a batch beyond the last");
        let admission = self.admission(batch)?;
        let started = Edge::BatchStarted { batch };
        Ok(std::iter::once(started).chain(admission).collect())
    }

    /// What a batch with devices on their way waits for.
    fn devices(&self) -> Wait {
        let batches = self.rollout.batch_count;
        let progress = self.present();
        if progress.batch < batches
            && let Some(frozen) = self.frozen()
        {
            return frozen;
        }
        let (open, total) = (self.on_the_way(), progress.total + self.tried_again);
        // Who was admitted just now has a deadline that the store knows.
        let until = self.facts.devices_until.filter(|_| self.admitted == 0);
        let canary = self.rollout.strategy == Strategy::Canary && progress.batch == 1;
        if canary && progress.verifying == open {
            return Wait::Soak { open, total, until };
        }
        Wait::Devices {
            batch: progress.batch,
            batches,
            open,
            total,
            until,
        }
    }

    /// The end of the present batch, and the pause that it may call for.
    fn complete(&self) -> Vec<Edge> {
        let batch = self.rollout.current_batch;
        let mut edges = vec![Edge::BatchCompleted {
            batch,
            next_batch_at: self.now + TimeDelta::seconds(self.delay_after(batch)),
        }];
        edges.extend(self.inconclusive().or_else(|| self.without_evidence()));
        edges
    }

    /// The end of the present batch where it is there and nobody has noted it.
    pub(super) fn unnoted_end(&self) -> Option<Vec<Edge>> {
        let running = self.rollout.status == RolloutStatus::InProgress && !self.recount;
        let batch = self.rollout.current_batch;
        let open = self.pending_up_to(batch) + self.on_the_way();
        let there = running && self.rollout.next_batch_at.is_none() && open == 0;
        (there && self.over_budget(true).is_none()).then(|| self.complete())
    }

    fn over_budget(&self, batch_ended: bool) -> Option<String> {
        if self.forgiven {
            return None;
        }
        let rule = &self.rollout.rule.failure;
        budget::exceeded(
            &self.facts.failures,
            rule,
            self.rollout.current_batch,
            batch_ended,
        )
        .map(|exceeded| exceeded.detail)
    }

    /// Devices whose checks said neither yes nor no are no success.
    fn inconclusive(&self) -> Option<Edge> {
        let progress = self.present();
        (progress.inconclusive > 0).then(|| Edge::Paused {
            reason: StatusReason::Inconclusive,
            detail: format!(
                "{} of {} devices of batch {} could be judged neither healthy nor failed in time",
                progress.inconclusive, progress.total, progress.batch
            ),
        })
    }

    /// A batch after which nobody has been judged yet says nothing about the image. Only where the
    /// last batch has nobody left who could be judged, there is nothing to wait for.
    fn without_evidence(&self) -> Option<Edge> {
        let batch = self.rollout.current_batch;
        let last = batch >= self.rollout.batch_count;
        let (mut attempted, mut unreachable, mut environment, mut skipped) = (0, 0, 0, 0);
        for progress in self.batches.iter().filter(|p| p.batch <= batch) {
            attempted += progress.attempted;
            unreachable += progress.unreachable;
            environment += progress.environment_failed;
            skipped += progress.skipped;
        }
        let nothing_known = attempted == 0 && (unreachable + environment > 0 || !last);
        let others = match environment {
            0 => String::new(),
            devices => format!(", {devices} failed for reasons that are not the image's"),
        };
        nothing_known.then(|| Edge::Paused {
            reason: StatusReason::NoEvidence,
            detail: format!(
                "no device could be judged so far: {unreachable} unreachable, {skipped} skipped{others}"
            ),
        })
    }
}
