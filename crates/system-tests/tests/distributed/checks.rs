//! What must be true at the end, however disturbed the way was.

use crate::system::{PATIENCE, System};
use std::collections::BTreeMap;
use windlass_testkit::eventually;
use windlass_types::event::{Event, EventType};
use windlass_types::ids::DeviceId;
use windlass_types::rollout::{DeviceStatus, RolloutDevice, RolloutStatus, RolloutView};

/// Who is to end where.
pub(crate) struct Expected {
    /// Devices that end on the new image.
    pub(crate) good: Vec<DeviceId>,
    /// Devices that fail on it and are put back.
    pub(crate) bad: Vec<DeviceId>,
    /// Devices that nothing is to happen to, with the target versions they had received.
    pub(crate) versions: BTreeMap<DeviceId, Vec<i64>>,
    /// The image before.
    pub(crate) old: String,
    /// The image that was pushed, by digest.
    pub(crate) new: String,
}

/// Checks devices, batches and events of the one rollout there is.
pub(crate) async fn check(system: &System, expected: &Expected, batches: &[usize]) {
    let rollout = system.rollout().await;
    assert_eq!(rollout.rollout.status, RolloutStatus::Completed);
    let devices = system.rollout_devices(&rollout).await;
    check_devices(system, expected).await;
    check_batches(&devices, batches);
    let known = system.events(None).await;
    check_events(&rollout, expected, batches.len(), &known);
    check_versions(&devices, system);
}

/// Every device ends where it is to end, and was updated once.
async fn check_devices(system: &System, expected: &Expected) {
    for device in &expected.good {
        assert!(
            system.runs(*device, &expected.new),
            "{:#?}",
            system.devices.snapshot(*device)
        );
        let seen = system.devices.snapshot(*device).unwrap();
        let both = [expected.old.as_str(), expected.new.as_str()];
        assert_eq!(seen.images_of("web"), both, "{} is updated once", seen.name);
    }
    for device in &expected.bad {
        eventually("a failed device is back", PATIENCE, async || {
            system.runs(*device, &expected.old)
        })
        .await;
        let seen = system.devices.snapshot(*device).unwrap();
        assert_eq!(
            seen.versions.len(),
            4,
            "empty, first, update, back: {seen:#?}"
        );
    }
    for (device, versions) in &expected.versions {
        let seen = system.devices.snapshot(*device).unwrap();
        assert_eq!(&seen.versions, versions, "{} is not touched", seen.name);
        assert_eq!(seen.started.len(), 1, "{} is not touched", seen.name);
    }
}

/// Batches have their sizes, and each begins when the one before is done.
fn check_batches(devices: &[RolloutDevice], sizes: &[usize]) {
    let of = |number: usize| {
        let number = i64::try_from(number).unwrap();
        devices.iter().filter(move |device| device.batch == number)
    };
    for (number, size) in (1..).zip(sizes) {
        assert_eq!(of(number).count(), *size, "the size of batch {number}");
        let begun = of(number).filter_map(|device| device.admitted_at).min();
        let done = of(number - 1).filter_map(|device| device.judged_at).max();
        assert!(
            begun >= done,
            "batch {number} began at {begun:?}, the one before ended at {done:?}"
        );
    }
    let settled = |device: &RolloutDevice| {
        matches!(
            device.status,
            DeviceStatus::Completed | DeviceStatus::RolledBack
        )
    };
    assert!(devices.iter().all(settled), "{devices:#?}");
}

/// Targets only ever go forward, one version for one change.
fn check_versions(devices: &[RolloutDevice], system: &System) {
    for device in devices {
        let seen = system.devices.snapshot(device.device_uuid).unwrap();
        assert!(
            seen.versions.windows(2).all(|pair| pair[0] < pair[1]),
            "{} never gets a lower version: {:?}",
            seen.name,
            seen.versions
        );
        let last = device.rollback_version.or(device.target_version);
        assert_eq!(seen.versions.last().copied(), last, "{}", seen.name);
    }
}

/// The log tells the whole story once, under one correlation id.
fn check_events(rollout: &RolloutView, expected: &Expected, batches: usize, known: &[Event]) {
    let (good, bad) = (expected.good.len(), expected.bad.len());
    let of_rollout = |event: &&Event| event.rollout_id == Some(rollout.rollout.id);
    let ours = |event: &&Event| event.correlation_id == Some(rollout.rollout.correlation_id);
    let astray: Vec<_> = known
        .iter()
        .filter(of_rollout)
        .filter(|event| !ours(event))
        .collect();
    assert!(
        astray.is_empty(),
        "events of the rollout without its origin: {astray:#?}"
    );

    let mut counts: BTreeMap<EventType, usize> = BTreeMap::new();
    for event in known.iter().filter(ours) {
        *counts.entry(event.kind).or_default() += 1;
    }
    let wanted = [
        (EventType::UpdateAvailable, 1),
        (EventType::RolloutCreated, 1),
        (EventType::RolloutStarted, 1),
        (EventType::RolloutBatchStarted, batches),
        (EventType::RolloutBatchCompleted, batches),
        (EventType::RolloutCompleted, 1),
        (EventType::ImageUpdateScheduled, good + bad),
        (EventType::HealthCheckPassed, good),
        (EventType::UpdateCompleted, good),
        (EventType::HealthCheckFailed, bad),
        (EventType::UpdateFailed, bad),
        (EventType::RollbackScheduled, bad),
        (EventType::DeviceRolledBack, bad),
        (EventType::DeviceRollbackFailed, 0),
        (EventType::RolloutPaused, 0),
        (EventType::RolloutSuperseded, 0),
    ];
    for (kind, count) in wanted {
        let found = counts.get(&kind).copied().unwrap_or(0);
        assert_eq!(found, count, "events {kind} of {counts:#?}");
    }
    // Each device's own, once each.
    for device in &expected.good {
        for kind in [EventType::ImageUpdateScheduled, EventType::UpdateCompleted] {
            let of_device =
                |event: &&Event| event.device_uuid == Some(*device) && event.kind == kind;
            assert_eq!(known.iter().filter(of_rollout).filter(of_device).count(), 1);
        }
    }
    // The story begins with the delivery, which has the same origin.
    let received = counts
        .get(&EventType::WebhookReceived)
        .copied()
        .unwrap_or(0);
    assert!(received >= 1, "{counts:#?}");
}
