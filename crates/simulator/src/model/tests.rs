//! What happens on a device, step by step.

use super::*;
use serde_json::json;

fn target(image: &str) -> TargetState {
    serde_json::from_value(
        json!({"apps": {"1": {"appId": 1, "appName": "demo", "services": [
        {"serviceId": 1, "serviceName": "web", "imageName": image, "config": {"image": image}}
    ]}}, "config": {}}),
    )
    .unwrap()
}

fn model(behaviour: Behaviour) -> Model {
    Model::new(behaviour, fastrand::Rng::with_seed(7))
}

fn run(model: &mut Model, steps: usize) {
    for _ in 0..steps {
        model.step();
    }
}

#[test]
fn the_first_report_carries_the_new_version_and_the_old_image() {
    let mut device = model(Behaviour::healthy(Style::Existing));
    device.take(1, &target("r/app:v1"));
    run(&mut device, 10);
    device.take(2, &target("r/app:v2"));
    assert!(device.step());
    assert_eq!(
        (device.version, &*device.running()["web"].image),
        (2, "r/app:v1")
    );
    run(&mut device, 10);
    assert_eq!(&*device.running()["web"].image, "r/app:v2");
}

#[test]
fn an_image_is_started_once_however_often_its_target_comes() {
    let mut device = model(Behaviour::healthy(Style::Ours));
    for version in 1..5 {
        device.take(version, &target("r/app:v1"));
        run(&mut device, 10);
    }
    assert_eq!(device.started.len(), 1);
}

#[test]
fn a_target_taken_back_in_time_restarts_nothing() {
    let mut device = model(Behaviour::healthy(Style::Existing));
    device.take(1, &target("r/app:v1"));
    run(&mut device, 10);
    device.take(2, &target("r/app:v2"));
    run(&mut device, 2);
    device.take(3, &target("r/app:v1"));
    run(&mut device, 10);
    assert_eq!((device.started.len(), device.next_in()), (1, None));
}

#[test]
fn an_existing_agent_whose_pull_fails_runs_nothing() {
    let mut device =
        model(Behaviour::healthy(Style::Existing).bad_on(":v2", Failure::RemovesContainer));
    device.take(1, &target("r/app:v1"));
    run(&mut device, 10);
    device.take(2, &target("r/app:v2"));
    run(&mut device, 10);
    assert!(device.containers.is_empty());
    device.take(3, &target("r/app:v1"));
    run(&mut device, 10);
    assert_eq!(&*device.running()["web"].image, "r/app:v1");
}

#[test]
fn a_crash_loop_never_ends_by_itself_and_ends_with_another_image() {
    let mut device = model(Behaviour::healthy(Style::Existing).bad_on(":v2", Failure::CrashLoop));
    device.take(1, &target("r/app:v2"));
    let mut states = Vec::new();
    for _ in 0..20 {
        if device.step() {
            states.extend(device.running().get("web").map(|running| running.status));
        }
    }
    assert!(
        states.windows(2).skip(1).all(|pair| pair[0] != pair[1]),
        "{states:?}"
    );
    device.take(2, &target("r/app:v1"));
    run(&mut device, 10);
    assert_eq!((device.next_in(), device.started.len()), (None, 2));
}

#[test]
fn the_same_seed_gives_the_same_device() {
    let waits = |seed| {
        let mut device = Model::new(
            Behaviour::healthy(Style::Ours),
            fastrand::Rng::with_seed(seed),
        );
        device.take(1, &target("r/app:v1"));
        device
            .steps
            .iter()
            .map(|(wait, _)| *wait)
            .collect::<Vec<_>>()
    };
    assert_eq!(waits(3), waits(3));
    assert_ne!(waits(3), waits(4));
}
