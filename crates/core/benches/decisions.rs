//! How long single decisions take: `cargo bench -p windlass-core`. To be compared with themselves only.
#![allow(
    clippy::unwrap_used,
    reason = "what is measured is built here and is known to be right"
)]

use chrono::{DateTime, TimeDelta, Utc};
use divan::{Bencher, black_box};
use serde_json::json;
use std::str::FromStr;
use uuid::Uuid;
use windlass_core::batches::{self, Group};
use windlass_core::plan::{Input, plan};
use windlass_core::{observe, target};
use windlass_types::facts::{FailureCount, RolloutFacts, Waiting, ZoneWaiting};
use windlass_types::ids::{CorrelationId, DeviceId, RolloutId};
use windlass_types::image::ImageReference;
use windlass_types::observation::Observation;
use windlass_types::policy::{Filters, RolloutRule, TagRule};
use windlass_types::report::Report;
use windlass_types::rollout::{BatchProgress, Rollout, RolloutStatus};
use windlass_types::target::TargetState;

fn main() {
    divan::main();
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

/// A rollout whose first of three batches is done and whose delay is over.
fn facts(devices: i64) -> RolloutFacts {
    let rule = RolloutRule::default();
    let batch = |batch, done: bool| BatchProgress {
        batch,
        total: devices,
        pending: if done { 0 } else { devices },
        completed: if done { devices } else { 0 },
        attempted: if done { devices } else { 0 },
        ..BatchProgress::default()
    };
    RolloutFacts {
        rollout: Rollout {
            id: RolloutId(Uuid::from_u128(1)),
            policy_id: None,
            delivery_id: None,
            repository: "r.io/demo/app".parse().unwrap(),
            tag: Some("v2".to_owned()),
            digest: Some(format!("sha256:{}", "a".repeat(64)).parse().unwrap()),
            strategy: rule.strategy,
            rule,
            filters: Filters::default(),
            tag_rule: TagRule::default(),
            priority: 0,
            freeze_override: None,
            freeze_override_at: None,
            seed: 1,
            status: RolloutStatus::InProgress,
            status_reason: None,
            status_detail: None,
            current_batch: 1,
            batch_count: 3,
            next_batch_at: Some(now() - TimeDelta::seconds(1)),
            total_devices: 3 * devices,
            version: 7,
            correlation_id: CorrelationId(Uuid::from_u128(2)),
            created_at: now() - TimeDelta::hours(2),
            started_at: Some(now() - TimeDelta::hours(1)),
            finished_at: None,
        },
        batches: vec![batch(1, true), batch(2, false), batch(3, false)],
        failures: FailureCount::default(),
        commands: Vec::new(),
        quarantined: false,
        unsigned: None,
        tried_again: 0,
        devices_until: None,
        freezes: Vec::new(),
        approvals: Vec::new(),
        checks: Vec::new(),
        waiting: Waiting {
            batch: 2,
            zones: vec![ZoneWaiting {
                time_zone: None,
                pending: devices,
                later: 0,
            }],
            admissible: devices,
            retry_at: None,
        },
        admitted_lately: Vec::new(),
    }
}

#[divan::bench(args = [10_000, 1_000_000])]
fn next_step_of_a_rollout(bencher: Bencher<'_, '_>, devices: i64) {
    let facts = facts(devices);
    bencher.bench(|| {
        plan(&Input {
            facts: black_box(&facts),
            now: now(),
        })
    });
}

#[divan::bench(args = [1, 100, 1000])]
fn layout_of_so_many_groups(bencher: Bencher<'_, '_>, groups: i64) {
    let groups: Vec<Group> = (0..groups)
        .map(|n| Group {
            value: Some(format!("region-{n}")),
            devices: 1_000_000 / groups,
            chosen: 0,
        })
        .collect();
    let rule = RolloutRule {
        batch_by: Some("region".to_owned()),
        ..RolloutRule::default()
    };
    bencher.bench(|| batches::layout(black_box(&groups), &rule).map(|layout| layout.ranges()));
}

#[divan::bench]
fn number_of_a_device() -> i64 {
    batches::shuffle_of(DeviceId(Uuid::from_u128(black_box(7))))
}

#[divan::bench]
fn image_reference(bencher: Bencher<'_, '_>) {
    let text = format!(
        "registry.example:5000/team/app:v1.2.3@sha256:{}",
        "a".repeat(64)
    );
    bencher.bench(|| ImageReference::from_str(black_box(&text)));
}

/// A report as an existing agent sends it.
fn report() -> Vec<u8> {
    let services: Vec<_> = (1..=3)
        .map(|n| {
            json!({"serviceId": n, "serviceName": format!("web-{n}"), "imageName": "demo/app:v1",
                "containerId": "c".repeat(64), "status": "running", "state": "running",
                "config": {"image": "demo/app:v1", "restart": "unless-stopped"}})
        })
        .collect();
    let report = json!({
        "apps": {"1001": {"appId": 1001, "appName": "demo", "services": services}},
        "is_online": true, "version": 1, "cpu_usage": 12.5, "memory_usage": 123_456_789,
        "uptime": 3600, "local_ip": "192.168.1.10", "os_version": "Debian 12"});
    serde_json::to_vec(&report).unwrap()
}

#[divan::bench]
fn report_read(bencher: Bencher<'_, '_>) {
    let text = report();
    bencher.bench(|| serde_json::from_slice::<Report>(black_box(&text)).unwrap());
}

#[divan::bench]
fn report_folded(bencher: Bencher<'_, '_>) {
    let report: Report = serde_json::from_slice(&report()).unwrap();
    let before = observe::fold(&Observation::default(), &report, now()).observation;
    let later = now() + TimeDelta::minutes(1);
    bencher.bench(|| observe::fold(black_box(&before), &report, later));
}

#[divan::bench]
fn id_of_a_target_state(bencher: Bencher<'_, '_>) {
    let state: TargetState = serde_json::from_value(json!({"apps": {"1001": {
        "appId": 1001, "appName": "demo", "services": [{
            "serviceId": 1, "serviceName": "web", "imageName": "demo/app:v1", "state": "running",
            "config": {"image": "demo/app:v1", "environment": {"PAD": "x".repeat(4000)}}}]}},
        "config": {}}))
    .unwrap();
    bencher.bench(|| target::state_id(black_box(&state)));
}
