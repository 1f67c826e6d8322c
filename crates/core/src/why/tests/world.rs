//! Facts to begin with.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::device::Device;
use windlass_types::facts::{FailureCount, RolloutFacts, Waiting, ZoneWaiting};
use windlass_types::ids::{CorrelationId, DeviceId, PolicyId, RolloutId};
use windlass_types::image::ImageReference;
use windlass_types::observation::{Observation, ServiceObservation};
use windlass_types::policy::{Filters, Policy, RolloutRule, Strategy, TagRule};
use windlass_types::rollout::{
    BatchProgress, DeviceStatus, FailureRates, Rollout, RolloutDevice, RolloutStatus, RolloutView,
};
use windlass_types::target::TargetSource;
use windlass_types::why::facts::{DeviceStory, GoingBack, Place, RolloutStory, TargetFacts};

/// So many minutes after noon.
pub(super) fn noon(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_600) + TimeDelta::minutes(12 * 60 + minutes)
}

pub(super) fn rollout(status: RolloutStatus, batch: i64) -> Rollout {
    Rollout {
        id: RolloutId(Uuid::from_u128(1)),
        policy_id: Some(PolicyId(Uuid::from_u128(3))),
        delivery_id: None,
        repository: "r.io/demo/app".parse().unwrap(),
        tag: Some("v2".to_owned()),
        digest: Some(format!("sha256:{}", "a".repeat(64)).parse().unwrap()),
        strategy: Strategy::Staged,
        rule: RolloutRule::default(),
        filters: Filters::default(),
        tag_rule: TagRule::default(),
        priority: 0,
        freeze_override: None,
        freeze_override_at: None,
        seed: 1,
        status,
        status_reason: None,
        status_detail: None,
        current_batch: batch,
        batch_count: 3,
        next_batch_at: None,
        total_devices: 30,
        version: 7,
        correlation_id: CorrelationId(Uuid::from_u128(2)),
        created_at: noon(-60),
        started_at: (batch > 0).then(|| noon(-50)),
        finished_at: status.is_final().then(|| noon(-1)),
    }
}

/// Batches of ten devices: those before the present one are done, the present one is verifying.
fn batches(present: i64) -> Vec<BatchProgress> {
    (1..=3)
        .map(|batch| {
            let mut progress = BatchProgress {
                batch,
                ..BatchProgress::default()
            };
            let status = match batch.cmp(&present) {
                std::cmp::Ordering::Less => DeviceStatus::Completed,
                std::cmp::Ordering::Equal => DeviceStatus::Verifying,
                std::cmp::Ordering::Greater => DeviceStatus::Pending,
            };
            progress.add(status, 10);
            progress
        })
        .collect()
}

pub(super) fn story(status: RolloutStatus, batch: i64) -> RolloutStory {
    let rollout = rollout(status, batch);
    let batches = batches(batch);
    let pending = |number: i64| Waiting {
        batch: number,
        zones: vec![ZoneWaiting {
            time_zone: None,
            pending: 10,
            later: 0,
        }],
        admissible: 10,
        retry_at: None,
    };
    let facts = (!status.is_final()).then(|| RolloutFacts {
        rollout: rollout.clone(),
        batches: batches.clone(),
        failures: FailureCount::default(),
        commands: Vec::new(),
        quarantined: false,
        unsigned: None,
        tried_again: 0,
        devices_until: (batch > 0).then(|| noon(5)),
        freezes: Vec::new(),
        approvals: Vec::new(),
        checks: Vec::new(),
        waiting: pending(batch + 1),
        admitted_lately: Vec::new(),
    });
    let image = ImageReference::of(
        &rollout.repository,
        rollout.tag.as_deref(),
        rollout.digest.as_ref(),
    );
    RolloutStory {
        view: RolloutView {
            image: image.to_string(),
            rollout,
            batches,
            waiting_for: None,
            approvals: Vec::new(),
            checks: Vec::new(),
            freezes: Vec::new(),
            failures: FailureRates::default(),
        },
        facts,
        turn: None,
        superseded_by: None,
        batch_completed_at: None,
        back: GoingBack::default(),
        full: Vec::new(),
    }
}

/// Changes the rollout in both places where it stands.
pub(super) fn change(story: &mut RolloutStory, how: impl Fn(&mut Rollout)) {
    how(&mut story.view.rollout);
    if let Some(facts) = &mut story.facts {
        how(&mut facts.rollout);
    }
}

pub(super) fn device() -> DeviceStory {
    DeviceStory {
        device: Device {
            uuid: DeviceId(Uuid::from_u128(9)),
            id: 9,
            name: "pump-9".to_owned(),
            device_type: "standalone".to_owned(),
            fleet: "lab".parse().unwrap(),
            tags: BTreeMap::from([("ring".to_owned(), "beta".to_owned())]),
            enabled: true,
            time_zone: None,
            platform: None,
            agent_version: None,
            os_version: None,
            last_seen_at: Some(noon(-1)),
            target_version: 2,
            created_at: noon(-6000),
        },
        target: Some(TargetFacts {
            version: 2,
            source: TargetSource::Operator,
            updated_at: noon(-600),
            services: vec![(1, 1, "r.io/demo/app:v1".to_owned())],
        }),
        observation: Observation::default(),
        penalty: None,
        places: Vec::new(),
        failed: Vec::new(),
        policies: Vec::new(),
    }
}

/// A device in batch 2 of a rollout whose first batch is on its way, or admitted with it.
pub(super) fn placed(status: DeviceStatus) -> DeviceStory {
    let mut found = device();
    let waits = status == DeviceStatus::Pending;
    found.places.push(Place {
        row: RolloutDevice {
            rollout_id: RolloutId(Uuid::from_u128(1)),
            device_uuid: found.device.uuid,
            batch: if waits { 2 } else { 1 },
            status,
            reason: None,
            old_image: Some("r.io/demo/app:v1".to_owned()),
            target_version: (!waits).then_some(3),
            rollback_image: None,
            rollback_version: None,
            evidence: None,
            retries: 0,
            retry_at: None,
            admitted_at: (!waits).then(|| noon(-4)),
            deadline_at: (!waits).then(|| noon(5)),
            judged_at: None,
            updated_at: noon(-2),
        },
        environment: false,
        rollout: story(RolloutStatus::InProgress, 1),
        checks: Vec::new(),
        labels: Vec::new(),
        other: None,
        back_before: None,
    });
    found
}

/// The device runs the image since then, restarted so often.
pub(super) fn runs(story: &mut DeviceStory, since: DateTime<Utc>, restarts: i64) {
    let image = story.places[0].rollout.view.image.clone();
    let service: ServiceObservation = serde_json::from_value(json!({
        "app_id": 1, "service_id": 1, "image": image, "status": "running",
        "running_since": since, "image_since": noon(-3), "restarts": restarts,
    }))
    .unwrap();
    story.observation.services = vec![service];
}

pub(super) fn policy(change: &serde_json::Value) -> Policy {
    let mut spec = json!({
        "name": "shops", "image": "r.io/demo/*", "strategy": "staged",
    });
    spec.as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    Policy {
        id: PolicyId(Uuid::from_u128(3)),
        version: 1,
        created_at: noon(-900),
        updated_at: noon(-800),
        spec: serde_json::from_value(spec).unwrap(),
    }
}
