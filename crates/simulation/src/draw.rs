//! Policies drawn over the whole space of rules.

use crate::dice::{one_of, percent};
use crate::images::REPOSITORIES;
use crate::open::ZONES;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use windlass_types::ids::FleetId;
use windlass_types::policy::{
    AbDecision, AbRule, ApprovalBefore, ApprovalRule, BatchSize, CanaryRule, Check, CheckFrom,
    CheckKind, Day, FailureAction, FailureRule, Filters, HealthRule, Limits, MaintenanceWindow,
    PolicySpec, Ramp, RetryRule, Strategy,
};

/// The fleets there are.
pub(crate) const FLEETS: [&str; 2] = ["shops", "lab"];
/// The values of the tag `region`.
pub(crate) const REGIONS: [&str; 3] = ["north", "south", "east"];

/// A policy over the images of one repository.
pub(crate) fn policy(dice: &mut fastrand::Rng, name: &str, now: DateTime<Utc>) -> PolicySpec {
    let repository = usize::from(percent(dice, 30));
    let strategy = one_of(
        dice,
        &[
            Strategy::Auto,
            Strategy::Staged,
            Strategy::Staged,
            Strategy::Canary,
            Strategy::Manual,
            Strategy::Scheduled,
            Strategy::Ab,
        ],
    )
    .unwrap_or(Strategy::Staged);
    let given = json!({
        "name": name,
        "image": REPOSITORIES.get(repository),
        "strategy": strategy,
    });
    // The three fields that have no default are there.
    let Ok(mut spec) = serde_json::from_value::<PolicySpec>(given) else {
        return policy(dice, name, now);
    };
    spec.batches = batches(dice);
    spec.batch_delay_seconds = one_of(dice, &[0, 60, 1_800, 7_200]).unwrap_or(0);
    spec.batch_by = percent(dice, 15).then(|| "region".to_owned());
    spec.canary = (strategy == Strategy::Canary).then(|| canary(dice));
    spec.ab = (strategy == Strategy::Ab).then(|| AbRule {
        percent: Some(dice.u32(10..60)),
        hold_seconds: dice.u32(0..7_200),
        decide: AbDecision::Approval,
        ..AbRule::default()
    });
    spec.approval = ApprovalRule {
        before: percent(dice, 20)
            .then(|| one_of(dice, &[ApprovalBefore::Rollout, ApprovalBefore::EachBatch]))
            .flatten(),
        two_people_above: percent(dice, 30).then(|| dice.u32(0..10)),
    };
    spec.starts_at = (strategy == Strategy::Scheduled && percent(dice, 70))
        .then(|| now + TimeDelta::seconds(dice.i64(0..20_000)));
    if percent(dice, 25) {
        spec.maintenance_windows = (0..dice.usize(1..3)).map(|_| window(dice)).collect();
    }
    spec.limits = limits(dice);
    spec.health = health(dice);
    spec.failure = failure(dice);
    spec.filters = filters(dice);
    spec.priority = dice.i32(0..3);
    spec.allow_downgrade = percent(dice, 30);
    spec
}

/// Has limits grow with large fleets: one device after the other is the same for thirty devices and for
/// thousands, only longer.
pub(crate) fn for_fleet_of(devices: usize, limits: &mut Limits, failure: &mut FailureRule) {
    let least = u32::try_from(devices / 30).unwrap_or(u32::MAX);
    if let Some(most) = &mut limits.max_in_flight {
        *most = (*most).max(least);
    }
    if let Some(ramp) = &mut limits.per_minute {
        ramp.base = ramp.base.max(least);
        ramp.max = ramp.max.map(|most| most.max(least));
    }
    for most in limits.max_unavailable.values_mut() {
        *most = (*most).max(least);
    }
    failure.rollback_max_in_flight = failure.rollback_max_in_flight.max(least);
}

/// Takes the gates out of a policy.
pub(crate) fn ungated(spec: &mut PolicySpec) {
    if matches!(spec.strategy, Strategy::Manual | Strategy::Scheduled) {
        spec.strategy = Strategy::Staged;
    }
    spec.approval = ApprovalRule::default();
    spec.starts_at = None;
    spec.maintenance_windows = Vec::new();
    spec.limits = Limits::default();
}

fn batches(dice: &mut fastrand::Rng) -> Vec<BatchSize> {
    match dice.u32(..4) {
        0 => vec![
            BatchSize::Percent(10),
            BatchSize::Percent(50),
            BatchSize::Percent(100),
        ],
        1 => vec![
            BatchSize::Count(1),
            BatchSize::Count(2),
            BatchSize::Count(5),
        ],
        2 => vec![BatchSize::Percent(100)],
        _ => vec![
            BatchSize::Count(1),
            BatchSize::Percent(30),
            BatchSize::Percent(100),
        ],
    }
}

fn canary(dice: &mut fastrand::Rng) -> CanaryRule {
    let mut rule = CanaryRule {
        soak_seconds: dice.u32(0..1_200),
        ..CanaryRule::default()
    };
    match dice.u32(..3) {
        0 => rule.count = Some(dice.u32(1..4)),
        1 => rule.percent = Some(dice.u32(1..60)),
        _ => rule.tags = BTreeMap::from([("region".to_owned(), region(dice))]),
    }
    rule
}

pub(crate) fn region(dice: &mut fastrand::Rng) -> String {
    one_of(dice, &REGIONS).unwrap_or("north").to_owned()
}

fn window(dice: &mut fastrand::Rng) -> MaintenanceWindow {
    let time = |minute: u32| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
    let days = [
        Day::Mon,
        Day::Tue,
        Day::Wed,
        Day::Thu,
        Day::Fri,
        Day::Sat,
        Day::Sun,
    ];
    let chosen = if percent(dice, 60) {
        Vec::new()
    } else {
        vec![
            one_of(dice, &days).unwrap_or(Day::Mon),
            one_of(dice, &days).unwrap_or(Day::Thu),
        ]
    };
    // Two hours at least, so that no step of time passes over it unseen; at times over midnight.
    let start = dice.u32(..1_440);
    let end = start + dice.u32(120..1_400);
    MaintenanceWindow {
        time_zone: percent(dice, 50)
            .then(|| one_of(dice, &ZONES))
            .flatten()
            .map(|(name, _)| name.to_owned()),
        days: chosen,
        start: time(start),
        end: time(end),
    }
}

fn limits(dice: &mut fastrand::Rng) -> Limits {
    let mut limits = Limits::default();
    if percent(dice, 25) {
        limits.max_in_flight = Some(dice.u32(1..6));
    }
    if percent(dice, 15) {
        limits.max_in_flight_percent = Some(dice.u32(1..80));
    }
    if percent(dice, 20) {
        limits.per_minute = Some(Ramp {
            base: dice.u32(1..4),
            factor: f64::from(dice.u32(1..4)),
            after_successes: dice.u32(1..5),
            max: percent(dice, 50).then(|| dice.u32(3..20)),
        });
    }
    if percent(dice, 20) {
        limits.max_unavailable = BTreeMap::from([("region".to_owned(), dice.u32(1..4))]);
    }
    limits
}

fn health(dice: &mut fastrand::Rng) -> HealthRule {
    let mut checks = Vec::new();
    if percent(dice, 15) {
        checks.push(Check::new(CheckKind::ContainerRunning));
    }
    // Nothing may be asked here, so these say nothing in their time, and a person decides.
    if percent(dice, 4) {
        checks.push(Check {
            from: Some(CheckFrom::Server),
            port: Some(80),
            timeout_seconds: 60,
            ..Check::new(CheckKind::Tcp)
        });
    }
    if percent(dice, 4) {
        checks.push(Check {
            url: Some("http://127.0.0.1:9/gate".to_owned()),
            timeout_seconds: 60,
            ..Check::new(CheckKind::Custom)
        });
    }
    HealthRule {
        stable_window_seconds: one_of(dice, &[0, 30, 120]).unwrap_or(30),
        deadline_seconds: one_of(dice, &[200, 600, 1_800]).unwrap_or(600),
        unreachable_after_seconds: one_of(dice, &[180, 600]).unwrap_or(180),
        crash_loop_restarts: dice.u32(1..5),
        checks,
    }
}

fn failure(dice: &mut fastrand::Rng) -> FailureRule {
    FailureRule {
        max_failure_rate: one_of(dice, &[0.0, 0.2, 0.5, 1.0]).unwrap_or(0.2),
        max_batch_failure_rate: percent(dice, 20).then_some(0.3),
        min_sample: dice.u32(1..6),
        max_consecutive_failures: dice.u32(0..4),
        max_silent_rate: one_of(dice, &[0.2, 1.0]).unwrap_or(0.2),
        max_environment_failure_rate: one_of(dice, &[0.2, 0.5, 1.0]).unwrap_or(0.5),
        retry: RetryRule {
            budget: dice.u32(0..3),
            backoff_seconds: dice.u32(1..300),
        },
        action: one_of(
            dice,
            &[
                FailureAction::Pause,
                FailureAction::Pause,
                FailureAction::RollbackFailed,
                FailureAction::RollbackBatch,
                FailureAction::RollbackAll,
            ],
        )
        .unwrap_or(FailureAction::Pause),
        auto_rollback: percent(dice, 75),
        rollback_timeout_seconds: one_of(dice, &[300, 1_200]).unwrap_or(300),
        rollback_max_in_flight: one_of(dice, &[1, 3, 500]).unwrap_or(500),
        quarantine_by: percent(dice, 15).then(|| "region".to_owned()),
    }
}

fn filters(dice: &mut fastrand::Rng) -> Filters {
    let mut filters = Filters::default();
    if percent(dice, 20) {
        filters.fleets = one_of(dice, &FLEETS)
            .and_then(|fleet| fleet.parse::<FleetId>().ok())
            .into_iter()
            .collect::<BTreeSet<_>>();
    }
    if percent(dice, 15) {
        filters.tags = BTreeMap::from([("region".to_owned(), region(dice))]);
    }
    filters
}
