//! The distributed tier, from a push to the registry to the last device: once in peace, and with
//! every service killed, Redis gone, every notification doubled and two replicas of what decides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod checks;
mod system;

use crate::checks::{Expected, check};
use crate::system::{PATIENCE, Shape, System};
use serde_json::json;
use std::time::Instant;
use windlass_simulator::Failure;
use windlass_testkit::eventually;
use windlass_types::rollout::{DeviceStatus, RolloutStatus};

const FLEETS: &[(&str, u64)] = &[("north", 40), ("south", 5), ("others", 5)];

/// What is there before the push that matters: devices on v1, among them some of another fleet on the
/// same image, and some of the same kind on another image.
async fn prepared(system: &mut System, bad: u64) -> (Expected, String) {
    let host = system.registry.host.clone();
    let members = system
        .populate(FLEETS, |fleet, index, behaviour| {
            if fleet == "north" && index < bad {
                let failures = [
                    Failure::CrashLoop,
                    Failure::RemovesContainer,
                    Failure::ReportsError,
                ];
                let kind = failures[usize::try_from(index).unwrap() % failures.len()];
                behaviour.bad_on("demo/app:v2", kind)
            } else {
                behaviour
            }
        })
        .await;
    let old = system.push("demo/app", "v1", "the first").await;
    let other = system.push("demo/other", "v1", "another").await;
    let old = format!("{host}/demo/app:v1@{old}");
    let other = format!("{host}/demo/other:v1@{other}");
    system.install(&members["north"], &old).await;
    system.install(&members["south"], &old).await;
    system.install(&members["others"], &other).await;
    let untouched = [members["south"].clone(), members["others"].clone()].concat();
    let expected = Expected {
        good: members["north"][usize::try_from(bad).unwrap()..].to_vec(),
        bad: members["north"][..usize::try_from(bad).unwrap()].to_vec(),
        versions: untouched
            .iter()
            .map(|device| (*device, system.devices.snapshot(*device).unwrap().versions))
            .collect(),
        old,
        // Known once it is pushed.
        new: String::new(),
    };
    (expected, host)
}

/// Waits until the rollout has ended and nobody is on the way back.
async fn ends(system: &System) {
    eventually("the rollout is completed", PATIENCE, async || {
        system.rollouts().await.iter().any(|view| {
            let back: i64 = view
                .batches
                .iter()
                .map(|batch| batch.rolling_back + batch.failed)
                .sum();
            view.rollout.status == RolloutStatus::Completed && back == 0
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pushed_image_reaches_every_device_in_scope_and_nobody_else() {
    let mut system = System::start(Shape {
        replicas: 1,
        deliveries: 1,
    })
    .await;
    let (mut expected, host) = prepared(&mut system, 0).await;
    let batches = json!([{"percent": 10}, {"percent": 50}, {"percent": 100}]);
    system.policy(batches, json!({})).await;
    let digest = system.push("demo/app", "v2", "the second").await;
    expected.new = format!("{host}/demo/app:v2@{digest}");
    ends(&system).await;
    check(&system, &expected, &[4, 16, 20]).await;
}

/// Kills each process in turn and starts it again, stops Redis for a while, and pushes the same image
/// once more, round after round until the rollout has ended. How many rounds that takes depends on how
/// fast the machine starts processes; how long it may take does not.
async fn disturb(system: &mut System) {
    let names = system.names();
    let began = Instant::now();
    let ended = async |system: &System| {
        let views = system.rollouts().await;
        views.iter().any(|view| view.rollout.status.is_final())
    };
    for round in 0.. {
        for name in &names {
            system.kill(name);
            system.goes_on_without(name).await;
            system.restart(name).await;
        }
        if ended(system).await {
            assert!(
                round > 0,
                "the rollout was over before everything was killed once"
            );
            break;
        }
        system.redis.kill();
        system.copy("staging:v2", "demo/app:v2");
        system.misses_redis().await;
        system.redis.restart().await;
        assert!(
            began.elapsed() < 2 * PATIENCE,
            "the rollout does not end, disturbed in {round} rounds"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_the_same_when_everything_is_killed_doubled_and_cut_off_on_the_way() {
    let mut system = System::start(Shape {
        replicas: 2,
        deliveries: 2,
    })
    .await;
    let (mut expected, host) = prepared(&mut system, 4).await;
    // Many small batches, so that there is a way on which to be disturbed; failures do not pause it.
    let batches = json!([{"count": 4}, {"count": 4}, {"count": 6}, {"count": 6}, {"count": 10}, {"percent": 100}]);
    let failure = json!({"max_failure_rate": 1.0, "max_consecutive_failures": 0});
    system.policy(batches, failure).await;
    let digest = system.push("demo/app", "v2", "the second").await;
    expected.new = format!("{host}/demo/app:v2@{digest}");
    disturb(&mut system).await;
    ends(&system).await;
    check(&system, &expected, &[4, 4, 6, 6, 10, 10]).await;
    let rollout = system.rollout().await;
    let devices = system.rollout_devices(&rollout).await;
    let back = devices
        .iter()
        .filter(|device| device.status == DeviceStatus::RolledBack);
    assert_eq!(back.count(), 4);
}
