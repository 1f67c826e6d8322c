//! The gates before a batch that are about the rollout as a whole: freezes, approvals, times, checks.

use super::{ApprovalOf, Edge, Wait, Work};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use windlass_types::freeze::Freeze;
use windlass_types::policy::{AbDecision, ApprovalBefore, Check, RolloutRule, Strategy};
use windlass_types::rollout::{CheckStatus, GateCheck, StatusReason};

impl Work<'_> {
    /// The freezes that hold this rollout, now or later: those that were made after a person let it go
    /// on in spite of them, where one did.
    pub(super) fn freezes(&self) -> impl Iterator<Item = &Freeze> {
        let overridden = self.rollout.freeze_override_at;
        let known = self.facts.freezes.iter();
        known.filter(move |freeze| freeze.holds_in_spite_of(overridden))
    }

    pub(super) fn frozen(&self) -> Option<Wait> {
        let in_force = self.freezes().filter(|freeze| freeze.is_in_force(self.now));
        let last = in_force.max_by_key(|freeze| {
            let end = freeze.ends_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
            (end, freeze.created_at, freeze.id)
        })?;
        Some(Wait::Frozen {
            freeze: last.id,
            kind: last.kind,
            reason: last.reason.clone(),
            since: last.starts_at,
            until: self.thaw(),
        })
    }

    /// When none of the freezes is in force; none where one has no end.
    fn thaw(&self) -> Option<DateTime<Utc>> {
        thaw(|| self.freezes(), self.now)
    }

    /// What must be approved before a batch, and by how many people.
    pub(super) fn approval_of(&self, batch: i64) -> Option<(ApprovalOf, usize)> {
        let rule = &self.rollout.rule;
        let of = approved(rule, self.rollout.strategy, batch)?;
        let devices = |from: i64, to: i64| {
            let batches = self
                .batches
                .iter()
                .filter(|p| (from..=to).contains(&p.batch));
            batches.fold(0, |sum: i64, p| sum.saturating_add(p.total))
        };
        let concerned = match of {
            ApprovalOf::Rollout => self.rollout.total_devices,
            ApprovalOf::Batch => devices(batch, batch),
            ApprovalOf::Promotion => devices(batch, self.rollout.batch_count),
        };
        let two = rule.approval.two_people_above;
        let need = if two.is_some_and(|above| concerned > i64::from(above)) {
            2
        } else {
            1
        };
        Some((of, need))
    }

    /// Who approved a batch. A person who did so twice is one person.
    pub(super) fn approved_by(&self, batch: i64) -> BTreeSet<&str> {
        let approvals = self.approvals.iter().filter(|a| a.batch == batch);
        approvals.map(|approval| approval.actor.as_str()).collect()
    }

    pub(super) fn approval(&self, batch: i64) -> Option<Wait> {
        let (of, need) = self.approval_of(batch)?;
        let have = self.approved_by(batch);
        (have.len() < need).then(|| Wait::Approval {
            batch,
            of,
            have: have.into_iter().map(str::to_owned).collect(),
            need,
            since: match batch {
                1 => Some(self.rollout.created_at),
                _ => self.rollout.next_batch_at,
            },
        })
    }

    pub(super) fn start_time(&self) -> Option<Wait> {
        let at = self.rollout.rule.starts_at?;
        (self.now < at).then_some(Wait::StartTime { at })
    }

    /// How long to wait after a batch, in seconds.
    pub(super) fn delay_after(&self, batch: i64) -> i64 {
        let rollout = &self.rollout;
        pause_after(&rollout.rule, rollout.strategy, batch, rollout.batch_count)
    }

    fn is_held(&self, batch: i64) -> bool {
        holds(self.rollout.strategy, batch)
    }

    pub(super) fn delay(&self, until: DateTime<Utc>) -> Option<Wait> {
        let batch = self.rollout.current_batch;
        (self.now < until).then(|| Wait::Delay {
            batch: batch + 1,
            hold: self.is_held(batch),
            since: until - TimeDelta::seconds(self.delay_after(batch)),
            until,
        })
    }

    /// The checks of the present batch as a whole that were decided against it and that nobody waived.
    fn decided(&self, status: CheckStatus) -> Vec<&GateCheck> {
        let batch = self.rollout.current_batch;
        let mut found: Vec<_> = self
            .checks
            .iter()
            .filter(|c| c.batch == batch && c.status == status && c.waived_by.is_none())
            .collect();
        found.sort_by_key(|check| check.position);
        found
    }

    /// Whether a person who resumes it takes checks upon themselves.
    pub(super) fn has_checks_against(&self) -> bool {
        [CheckStatus::Failed, CheckStatus::Inconclusive]
            .into_iter()
            .any(|status| !self.decided(status).is_empty())
    }

    /// What follows from checks that did not pass.
    pub(super) fn checks_against(&self) -> Option<Edge> {
        let batch = self.rollout.current_batch;
        let names = |checks: &[&GateCheck]| {
            let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
            names.join(", ")
        };
        let failed = self.decided(CheckStatus::Failed);
        if !failed.is_empty() {
            let ab = self.rollout.rule.ab.as_ref();
            let decide = ab.is_some_and(|ab| ab.decide == AbDecision::Checks);
            let names = names(&failed);
            return Some(if self.is_held(batch) && decide {
                Edge::RollbackOrdered {
                    detail: format!("the old version stays: checks of the new one failed: {names}"),
                }
            } else {
                Edge::Paused {
                    reason: StatusReason::CheckFailed,
                    detail: format!("checks of batch {batch} failed: {names}"),
                }
            });
        }
        let inconclusive = self.decided(CheckStatus::Inconclusive);
        (!inconclusive.is_empty()).then(|| Edge::Paused {
            reason: StatusReason::Inconclusive,
            detail: format!(
                "checks of batch {batch} said neither yes nor no: {}",
                names(&inconclusive)
            ),
        })
    }

    /// The checks of the present batch that are not decided, those that nobody has begun included.
    pub(super) fn open_checks(&self) -> Option<Wait> {
        let batch = self.rollout.current_batch;
        let (mut open, mut known, mut until) = (Vec::new(), true, None);
        for (position, rule) in (0_i64..).zip(self.rollout.rule.gate_checks(batch)) {
            let row = self
                .checks
                .iter()
                .find(|check| check.batch == batch && check.position == position);
            match row {
                Some(row) if row.status == CheckStatus::Pending => {
                    open.push(row.name.clone());
                    until = until.max(Some(row.deadline_at));
                }
                Some(_) => {}
                None => {
                    open.push(name(&rule, position));
                    known = false;
                }
            }
        }
        (!open.is_empty()).then(|| Wait::Checks {
            batch,
            open,
            until: until.filter(|_| known),
        })
    }
}

/// A check's name: its own, or its type and place.
fn name(check: &Check, position: i64) -> String {
    let own = check.name.clone();
    own.unwrap_or_else(|| format!("{} {}", check.kind, position + 1))
}

/// The first moment from one on at which none of these freezes is in force; none where one has no end.
pub(super) fn thaw<'f, I: Iterator<Item = &'f Freeze>>(
    freezes: impl Fn() -> I,
    from: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let mut at = from;
    // Each turn goes to the end of a freeze that is in force, which then is over.
    while let Some(freeze) = freezes().find(|freeze| freeze.is_in_force(at)) {
        at = freeze.ends_at?;
    }
    Some(at)
}

/// What people approve before a batch.
pub(super) fn approved(rule: &RolloutRule, strategy: Strategy, batch: i64) -> Option<ApprovalOf> {
    let decides = rule
        .ab
        .as_ref()
        .is_some_and(|ab| ab.decide == AbDecision::Approval);
    match rule.approval_before() {
        _ if strategy == Strategy::Ab && batch == 2 && decides => Some(ApprovalOf::Promotion),
        Some(ApprovalBefore::Rollout) if batch == 1 => Some(ApprovalOf::Rollout),
        Some(ApprovalBefore::EachBatch) => Some(ApprovalOf::Batch),
        Some(ApprovalBefore::Rollout) | None => None,
    }
}

/// How long to wait after a batch, in seconds: both versions of a comparison are held for a time of
/// their own.
pub(super) fn pause_after(rule: &RolloutRule, strategy: Strategy, batch: i64, batches: i64) -> i64 {
    if batch >= batches {
        return 0;
    }
    match &rule.ab {
        Some(ab) if holds(strategy, batch) => i64::from(ab.hold_seconds),
        _ => i64::from(rule.batch_delay_seconds),
    }
}

/// Whether two versions are held beside each other after a batch.
fn holds(strategy: Strategy, batch: i64) -> bool {
    strategy == Strategy::Ab && batch == 1
}
