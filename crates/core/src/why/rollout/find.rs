//! Which reasons hold for a rollout: the planner's own report, told with who and since when.

use super::RolloutReason;
use crate::plan::{self, ApprovalOf, Input, Limit, Wait};
use crate::why::Since;
use chrono::{DateTime, Utc};
use serde_json::Value;
use windlass_types::facts::RolloutFacts;
use windlass_types::freeze::{Freeze, FreezeKind};
use windlass_types::rollout::{BatchProgress, CommandKind, RolloutStatus, StatusReason};
use windlass_types::why::facts::RolloutStory;

type Found = Since<RolloutReason>;

/// Why a rollout does not move, or how it ended: first what decides, then what else would hold it.
#[must_use]
pub fn rollout(story: &RolloutStory, now: DateTime<Utc>) -> Vec<Found> {
    match &story.facts {
        Some(facts) if !story.view.rollout.status.is_final() => under_way(story, facts, now),
        _ => {
            let mut found = vec![ended(story)];
            found.extend(ways_back(story));
            found
        }
    }
}

/// That devices wait for their turn to go back; also of a rollout that has ended.
fn ways_back(story: &RolloutStory) -> Option<Found> {
    let limit = i64::from(story.view.rollout.rule.failure.rollback_max_in_flight);
    let back = story.back;
    let reason = RolloutReason::RollbacksWait {
        waiting: back.waiting,
        limit,
        on_their_way: back.on_their_way,
    };
    (back.waiting > 0 && back.on_their_way >= limit).then(|| Since::new(reason, None))
}

fn under_way(story: &RolloutStory, facts: &RolloutFacts, now: DateTime<Utc>) -> Vec<Found> {
    let plan = plan::plan(&Input { facts, now });
    let mut found = match plan.waits_for.as_ref().filter(|_| plan.is_idle()) {
        Some(wait) => of_wait(story, facts, wait, now),
        None => vec![Since::new(RolloutReason::NextStep, None)],
    };
    found.extend(ways_back(story));
    // What else would hold it, once the first is out of the way.
    let overridden = &facts.rollout.freeze_override;
    for freeze in facts.freezes.iter().filter(|freeze| {
        freeze.is_in_force(now) && freeze.holds_in_spite_of(facts.rollout.freeze_override_at)
    }) {
        let reason = frozen(freeze);
        if !found.iter().any(|one| one.reason == reason.reason) {
            found.push(reason);
        }
    }
    if let Some(said) = overridden {
        let reason = RolloutReason::FreezeOverridden { said: said.clone() };
        found.push(Since::new(reason, None));
    }
    found
}

fn of_wait(
    story: &RolloutStory,
    facts: &RolloutFacts,
    wait: &Wait,
    now: DateTime<Utc>,
) -> Vec<Found> {
    let rollout = &facts.rollout;
    let turned = story.turn.as_ref().map(|turn| turn.at);
    let one = |reason, since| vec![Since::new(reason, since)];
    match wait {
        Wait::Frozen { freeze, .. } => {
            let found = facts.freezes.iter().find(|one| one.id == *freeze);
            found.map(frozen).into_iter().collect()
        }
        Wait::Approval {
            batch,
            of,
            have,
            need,
            since,
        } => {
            let batch = (*of != ApprovalOf::Rollout).then_some(*batch);
            let reason = RolloutReason::Approval {
                batch,
                devices: devices_of(facts, batch),
                needed: i64::try_from(*need).unwrap_or(i64::MAX),
                given: have.clone(),
            };
            one(reason, *since)
        }
        Wait::StartTime { at } => {
            let at = Some(*at);
            one(RolloutReason::StartTime { at }, Some(rollout.created_at))
        }
        Wait::Window {
            batch,
            devices,
            zones,
            opens_at,
        } => {
            let zones = zones.iter().flatten().cloned().collect();
            let reason = RolloutReason::WindowClosed {
                batch: *batch,
                devices: *devices,
                zones,
                opens_at: *opens_at,
            };
            one(reason, None)
        }
        Wait::Limit {
            devices,
            limit,
            until,
            ..
        } => {
            let (waiting, until) = (*devices, *until);
            let reason = match limit {
                Limit::InFlight { in_flight, at_most } => RolloutReason::InFlightLimit {
                    limit: *at_most,
                    in_flight: *in_flight,
                    waiting,
                    until,
                },
                Limit::PerMinute { at_most, .. } => RolloutReason::RateLimit {
                    per_minute: *at_most,
                    waiting,
                    at: until,
                },
                Limit::Unavailable { tags } => RolloutReason::LabelLimit {
                    tags: tags.clone(),
                    waiting,
                    full: story.full.clone(),
                    until,
                },
            };
            one(reason, None)
        }
        Wait::Retry { devices, at, .. } => {
            let (devices, at) = (*devices, Some(*at));
            one(RolloutReason::RetryWait { devices, at }, None)
        }
        Wait::Soak { open, total, until } => {
            let reason = RolloutReason::Soak {
                open: *open,
                total: *total,
                until: *until,
            };
            one(reason, rollout.started_at)
        }
        Wait::Checks { batch, open, until } => {
            let reason = |name: &String| {
                let row = facts.checks.iter().find(|check| check.name == *name);
                let tries = row.map(|check| {
                    let tries = check.evidence.get("tries").and_then(Value::as_i64);
                    tries.unwrap_or(0)
                });
                // Before the first try there is nothing that it said.
                let said = row.filter(|_| tries > Some(0)).and_then(|check| {
                    let said = check.evidence.get("summary").and_then(Value::as_str);
                    said.map(str::to_owned).filter(|said| !said.is_empty())
                });
                RolloutReason::GateCheck {
                    batch: *batch,
                    name: name.clone(),
                    tries,
                    said,
                    until: row.map(|check| check.deadline_at).or(*until),
                }
            };
            let since = rollout.next_batch_at;
            open.iter()
                .map(|name| Since::new(reason(name), since))
                .collect()
        }
        Wait::Devices {
            batch,
            batches,
            open,
            total,
            until,
        } => {
            let reason = RolloutReason::DevicesOnTheirWay {
                batch: *batch,
                batches: *batches,
                open: *open,
                total: *total,
                until: *until,
            };
            one(reason, rollout.started_at.filter(|_| *batch == 1))
        }
        Wait::Delay {
            batch,
            hold,
            since,
            until,
        } => {
            let reason = if *hold {
                RolloutReason::Hold { until: *until }
            } else {
                RolloutReason::Delay {
                    batch: *batch,
                    until: *until,
                }
            };
            one(reason, story.batch_completed_at.or(Some(*since)))
        }
        Wait::Budget { detail } => {
            let detail = detail.clone();
            one(RolloutReason::BudgetSpent { detail }, None)
        }
        Wait::Operator { reason, detail } => {
            let by = story.turn.as_ref().map(|turn| turn.actor.clone());
            let reason = match reason {
                Some(StatusReason::Operator) => RolloutReason::PausedByPerson {
                    by,
                    why: detail.clone(),
                },
                cause => RolloutReason::Paused {
                    cause: *cause,
                    detail: detail.clone(),
                },
            };
            one(reason, turned)
        }
        Wait::Rollback => vec![rollback(story, facts, now)],
    }
}

fn rollback(story: &RolloutStory, facts: &RolloutFacts, now: DateTime<Utc>) -> Found {
    let order = facts
        .commands
        .iter()
        .find(|command| command.kind == CommandKind::RollbackAll);
    if let (Some(order), true) = (order, facts.rollout.status != RolloutStatus::RollingBack) {
        let reason = RolloutReason::RollbackOrdered {
            by: order.actor.clone(),
            why: order.reason.clone(),
        };
        return Since::new(reason, Some(order.created_at));
    }
    let sum = |count: fn(&BatchProgress) -> i64| facts.batches.iter().map(count).sum();
    let reason = RolloutReason::RollingBackAll {
        left: sum(|batch| batch.rolling_back),
        back: sum(|batch| batch.rolled_back),
        failed: sum(|batch| batch.rollback_failed),
        why: facts.rollout.status_detail.clone(),
        until: facts.devices_until.filter(|at| *at > now),
    };
    Since::new(reason, story.turn.as_ref().map(|turn| turn.at))
}

/// How many devices a batch has, or the whole rollout.
fn devices_of(facts: &RolloutFacts, batch: Option<i64>) -> i64 {
    batch.map_or(facts.rollout.total_devices, |number| {
        let found = facts.batches.iter().find(|one| one.batch == number);
        found.map_or(0, |one| one.total)
    })
}

fn frozen(freeze: &Freeze) -> Found {
    let (by, why) = (freeze.created_by.clone(), freeze.reason.clone());
    let reason = match freeze.kind {
        FreezeKind::Stop => RolloutReason::Stopped { by, why },
        FreezeKind::Freeze => RolloutReason::Frozen {
            by,
            why,
            until: freeze.ends_at,
        },
    };
    Since::new(reason, Some(freeze.starts_at))
}

fn ended(story: &RolloutStory) -> Found {
    let (view, turn) = (&story.view, story.turn.as_ref());
    let rollout = &view.rollout;
    let sum = |count: fn(&BatchProgress) -> i64| view.batches.iter().map(count).sum();
    let detail = rollout.status_detail.clone();
    let reason = match rollout.status {
        RolloutStatus::Completed => RolloutReason::Completed {
            healthy: sum(|batch| batch.completed),
            total: rollout.total_devices,
            skipped: sum(|batch| batch.skipped),
        },
        RolloutStatus::Cancelled => RolloutReason::Cancelled {
            by: turn.map(|turn| turn.actor.clone()),
            why: detail,
        },
        RolloutStatus::Superseded => RolloutReason::Superseded {
            by: story.superseded_by.clone(),
            detail,
        },
        RolloutStatus::RolledBack => RolloutReason::RolledBack {
            back: sum(|batch| batch.rolled_back),
            failed: sum(|batch| batch.rollback_failed),
            why: detail,
        },
        RolloutStatus::Failed => RolloutReason::Failed { detail },
        // It has facts, so it is only here where these could not be read.
        RolloutStatus::Pending
        | RolloutStatus::AwaitingApproval
        | RolloutStatus::Scheduled
        | RolloutStatus::InProgress
        | RolloutStatus::Paused
        | RolloutStatus::RollingBack => RolloutReason::NextStep,
    };
    Since::new(reason, rollout.finished_at)
}
