//! What happens on a device, step by step.

use super::*;
use crate::failure::Probe;
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

#[test]
fn each_class_of_error_is_told_and_leaves_the_old_container_where_the_pull_failed() {
    let cases = [
        (ErrorClass::Registry, "registry", "r/app:v1"),
        (ErrorClass::Auth, "auth", "r/app:v1"),
        (ErrorClass::Network, "network", "r/app:v1"),
        (ErrorClass::Disk, "disk", "r/app:v1"),
        (ErrorClass::Pull, "pull", "r/app:v1"),
        (ErrorClass::Start, "start", "r/app:v2"),
        (ErrorClass::CrashLoop, "crash_loop", "r/app:v2"),
        (ErrorClass::Health, "health", "r/app:v2"),
    ];
    for (class, word, image) in cases {
        let mut device =
            model(Behaviour::healthy(Style::Ours).bad_on(":v2", Failure::Error(class)));
        device.take(1, &target("r/app:v1"));
        run(&mut device, 10);
        device.take(2, &target("r/app:v2"));
        run(&mut device, 10);
        let container = &device.containers[&(1, 1)];
        assert_eq!(container.error.map(|(kind, _)| kind), Some(word));
        assert_eq!((&*container.image, container.phase), (image, "failed"));
    }
}

#[test]
fn what_fails_at_first_is_tried_again_with_each_new_version_and_comes_up_in_the_end() {
    let disk = Failure::Error(ErrorClass::Disk);
    let mut device = model(Behaviour::healthy(Style::Ours).bad_at_first(":v2", disk, 2));
    device.take(1, &target("r/app:v1"));
    run(&mut device, 10);
    for (version, image) in [(2, "r/app:v1"), (3, "r/app:v1"), (4, "r/app:v2")] {
        device.take(version, &target("r/app:v2"));
        run(&mut device, 10);
        assert_eq!(
            &*device.running()["web"].image,
            image,
            "at version {version}"
        );
    }
    assert_eq!(device.containers[&(1, 1)].error, None);
}

#[test]
fn probes_that_do_not_pass_are_told_and_shown_at_the_port() {
    let cases = [
        (Probe::Fails, "unhealthy"),
        (Probe::Hangs, "starting"),
        (Probe::Refuses, "unhealthy"),
    ];
    for (probe, word) in cases {
        let mut device =
            model(Behaviour::healthy(Style::Ours).bad_on(":v2", Failure::Probes(probe)));
        device.take(1, &target("r/app:v2"));
        run(&mut device, 10);
        assert_eq!(device.containers[&(1, 1)].health(), Some(word));
        let behind = Behind::Containers(Some(probe), "r/app:v2".to_owned());
        assert_eq!(device.behind(), behind);
    }
}

#[test]
fn a_container_that_flaps_is_another_one_each_time() {
    let mut device = model(Behaviour::healthy(Style::Existing).bad_on(":v2", Failure::Flaps));
    device.take(1, &target("r/app:v2"));
    run(&mut device, 4);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        assert!(device.step());
        let container = &device.containers[&(1, 1)];
        assert_eq!(container.status, "running");
        seen.insert(container.id.clone());
    }
    assert_eq!(seen.len(), 5);
}

#[test]
fn a_device_goes_silent_once_it_runs_the_image() {
    let mut device = model(Behaviour::healthy(Style::Ours).bad_on(":v2", Failure::GoesSilent));
    device.take(1, &target("r/app:v1"));
    run(&mut device, 10);
    assert!(!device.silent);
    device.take(2, &target("r/app:v2"));
    run(&mut device, 10);
    assert!(device.silent);
    assert_eq!(&*device.running()["web"].image, "r/app:v2");
}
