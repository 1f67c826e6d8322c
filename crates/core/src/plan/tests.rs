//! Tables of every transition, and the laws of planning.

mod ends;
mod gates;
mod laws;
mod states;
mod table;

use super::edge::end;
use super::*;
use crate::budget;
use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;
use windlass_types::facts::{FailureCount, Slice, Waiting, ZoneWaiting};
use windlass_types::freeze::Freeze;
use windlass_types::ids::{CorrelationId, RolloutId};
use windlass_types::policy::{Filters, RolloutRule, TagRule};
use windlass_types::rollout::{Command, StatusReason};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_000_000 + seconds)
}

/// Batches of three rollouts' worth of devices, and where it stands.
fn rollout(status: RolloutStatus, current_batch: i64) -> Rollout {
    Rollout {
        id: RolloutId(Uuid::from_u128(1)),
        policy_id: None,
        delivery_id: None,
        repository: "r.io/demo/app".parse().unwrap(),
        tag: Some("v2".to_owned()),
        digest: Some(format!("sha256:{}", "a".repeat(64)).parse().unwrap()),
        strategy: Strategy::Staged,
        rule: RolloutRule {
            batch_delay_seconds: 60,
            ..RolloutRule::default()
        },
        filters: Filters::default(),
        tag_rule: TagRule::default(),
        priority: 0,
        freeze_override: None,
        freeze_override_at: None,
        seed: 1,
        status,
        status_reason: None,
        status_detail: None,
        current_batch,
        batch_count: 3,
        next_batch_at: None,
        total_devices: 30,
        version: 7,
        correlation_id: CorrelationId(Uuid::from_u128(2)),
        created_at: at(-100),
        started_at: (current_batch > 0).then(|| at(-50)),
        finished_at: status.is_final().then(|| at(-1)),
    }
}

/// Ten devices in each of three batches: those up to `done` completed, the others pending.
fn batches(done: i64) -> Vec<BatchProgress> {
    (1..=3)
        .map(|batch| {
            let mut progress = BatchProgress {
                batch,
                total: 10,
                ..BatchProgress::default()
            };
            if batch <= done {
                (progress.completed, progress.attempted) = (10, 10);
            } else {
                progress.pending = 10;
            }
            progress
        })
        .collect()
}

fn command(number: u128, kind: CommandKind) -> Command {
    serde_json::from_value(json!({
        "id": Uuid::from_u128(number), "rollout_id": Uuid::from_u128(1), "kind": kind,
        "actor": "operator:ann", "reason": "a look at it", "outcome": "pending", "created_at": at(0),
    }))
    .unwrap()
}

/// An input that owns what it refers to.
#[derive(Debug, Clone)]
struct Case {
    rollout: Rollout,
    batches: Vec<BatchProgress>,
    latest_failed: Vec<bool>,
    /// Whether a person resumed it in spite of the failures so far.
    forgiven: bool,
    commands: Vec<Command>,
    quarantined: bool,
    unsigned: bool,
    freezes: Vec<Freeze>,
    approvals: Vec<Approval>,
    checks: Vec<GateCheck>,
    /// The time zones of devices that are pending, of which the first has the rest.
    zones: Vec<ZoneWaiting>,
    /// How many the limits by tag let through; all where not given.
    admissible: Option<i64>,
    retry_at: Option<DateTime<Utc>>,
    lately: Vec<Slice>,
    /// Of the devices of earlier batches on their way, those admitted with the present one.
    tried_again: i64,
    now: DateTime<Utc>,
}

impl Case {
    fn new(status: RolloutStatus, current_batch: i64, done: i64) -> Self {
        Self {
            rollout: rollout(status, current_batch),
            batches: batches(done),
            latest_failed: Vec::new(),
            forgiven: false,
            commands: Vec::new(),
            quarantined: false,
            unsigned: false,
            freezes: Vec::new(),
            approvals: Vec::new(),
            checks: Vec::new(),
            zones: Vec::new(),
            admissible: None,
            retry_at: None,
            lately: Vec::new(),
            tried_again: 0,
            now: at(0),
        }
    }

    fn with(mut self, kinds: &[CommandKind]) -> Self {
        self.commands = (1..)
            .zip(kinds)
            .map(|(n, kind)| command(n, *kind))
            .collect();
        self
    }

    /// As the store does it: of the present batch and those before it, else of the next that has any.
    fn waiting(&self) -> Waiting {
        let current = self.rollout.current_batch;
        let first = self.batches.iter().find(|p| p.pending > 0);
        let (batch, from) = match first.map(|p| p.batch) {
            Some(first) if first <= current => (current, 1),
            Some(next) => (next, next),
            None => (current + 1, current + 1),
        };
        let concerned = self
            .batches
            .iter()
            .filter(|p| (from..=batch).contains(&p.batch));
        let mut left: i64 = concerned.map(|p| p.pending).sum();
        let mut zones = Vec::new();
        for zone in &self.zones {
            let pending = zone.pending.min(left);
            left -= pending;
            zones.push(ZoneWaiting {
                pending,
                later: zone.later.min(pending),
                ..zone.clone()
            });
        }
        match zones.first_mut() {
            Some(zone) => zone.pending += left,
            None => zones.push(ZoneWaiting {
                time_zone: None,
                pending: left,
                later: 0,
            }),
        }
        zones.retain(|zone| zone.pending > 0);
        let due = zones.iter().map(|zone| zone.pending - zone.later).sum();
        Waiting {
            batch,
            retry_at: self
                .retry_at
                .filter(|_| zones.iter().any(|zone| zone.later > 0)),
            zones,
            admissible: self.admissible.unwrap_or(due).min(due),
        }
    }

    fn facts(&self) -> RolloutFacts {
        let failures = if self.forgiven {
            FailureCount::default()
        } else {
            FailureCount {
                batches: self.batches.clone(),
                latest_failed: self.latest_failed.clone(),
                ..FailureCount::default()
            }
        };
        RolloutFacts {
            rollout: self.rollout.clone(),
            batches: self.batches.clone(),
            failures,
            commands: self.commands.clone(),
            quarantined: self.quarantined,
            unsigned: self.unsigned.then(|| "it has no signature".to_owned()),
            tried_again: self.tried_again,
            devices_until: Some(at(300)),
            freezes: self.freezes.clone(),
            approvals: self.approvals.clone(),
            checks: self.checks.clone(),
            waiting: self.waiting(),
            admitted_lately: self.lately.clone(),
        }
    }

    fn plan(&self) -> Plan {
        plan(&Input {
            facts: &self.facts(),
            now: self.now,
        })
    }
}
