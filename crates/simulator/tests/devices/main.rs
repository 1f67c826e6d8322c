//! Devices against a small server that speaks the device protocol and remembers what it hears.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test is to end the test"
)]

mod port;
mod server;

use crate::server::{PATIENCE, Server, one, quick};
use std::sync::atomic::Ordering;
use std::time::Duration;
use windlass_simulator::{Behaviour, DeviceSpec, Failure, Simulator, Style};
use windlass_testkit::eventually;
use windlass_types::ids::DeviceId;

#[tokio::test]
async fn an_update_is_told_as_existing_agents_tell_it_and_history_has_no_version() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let (spec, behaviour) = one(Style::Existing);
    let fleet = Simulator::start(&server.url, vec![spec.behaving(behaviour.replaying())]).unwrap();
    eventually("v1 runs", PATIENCE, async || {
        fleet.count_running("web", ":v1") == 1
    })
    .await;
    server.target(2, "r/app:v2");
    let replayed = (None, Some("r/app:v1".to_owned()));
    eventually("history is told after v2", PATIENCE, async || {
        let told = server.told();
        let fresh = told
            .iter()
            .position(|report| *report == (Some(2), Some("r/app:v2".to_owned())));
        fresh.is_some_and(|at| told.iter().skip(at).any(|report| *report == replayed))
    })
    .await;
    assert!(
        server
            .told()
            .contains(&(Some(2), Some("r/app:v1".to_owned()))),
        "received is told before it is applied"
    );
    let polls = server.heard.polls.lock().unwrap().clone();
    let (_, etag, prefer) = &polls[0];
    assert!(
        etag.is_none() && prefer.is_none(),
        "the first poll is unconditional"
    );
    assert!(
        polls
            .iter()
            .skip(1)
            .any(|(_, etag, _)| etag.as_deref() == Some("\"2\""))
    );
    assert!(polls.iter().all(|(_, _, prefer)| prefer.is_none()));
    assert_eq!(server.heard.registrations.lock().unwrap().len(), 1);
    fleet.shutdown().await;
    server.handle.stop(false).await;
}

#[tokio::test]
async fn our_style_asks_for_the_poll_to_be_held_and_tells_errors() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let (spec, behaviour) = one(Style::Ours);
    let spec = spec.behaving(behaviour.bad_on(":v1", Failure::ReportsError));
    let fleet = Simulator::start(&server.url, vec![spec]).unwrap();
    eventually("the error is told", PATIENCE, async || {
        let reports = server.heard.reports.lock().unwrap();
        reports.iter().any(|report| {
            let body = report.as_object().unwrap().values().next().unwrap();
            let service = &body["apps"]["1"]["services"][0];
            service["error"]["type"] == "start"
                && service["phase"] == "failed"
                && body["reportId"].is_string()
        })
    })
    .await;
    eventually("a poll asks to be held", PATIENCE, async || {
        let polls = server.heard.polls.lock().unwrap();
        polls
            .iter()
            .any(|(_, etag, prefer)| etag.is_some() && prefer.as_deref() == Some("wait=1"))
    })
    .await;
    fleet.shutdown().await;
    server.handle.stop(false).await;
}

#[tokio::test]
async fn a_stopped_device_is_silent_and_a_resumed_one_catches_up() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let (spec, behaviour) = one(Style::Existing);
    let uuid = spec.uuid;
    let other = DeviceSpec::drawn(5, 1, "other", "provisioning").behaving(behaviour.clone());
    let beside = other.uuid;
    let fleet = Simulator::start(&server.url, vec![spec.behaving(behaviour), other]).unwrap();
    eventually("v1 runs", PATIENCE, async || {
        fleet.count_running("web", ":v1") == 2
    })
    .await;
    fleet.stop(uuid);
    eventually("it is offline", PATIENCE, async || {
        !fleet.snapshot(uuid).unwrap().online
    })
    .await;
    let polls_of = |device: DeviceId| {
        let polls = server.heard.polls.lock().unwrap();
        let device = device.to_string();
        polls.iter().filter(|(who, ..)| *who == device).count()
    };
    let (polls, others) = (polls_of(uuid), polls_of(beside));
    server.target(2, "r/app:v2");
    // As long as the other takes for ten polls, and for the update.
    eventually("the other goes on", PATIENCE, async || {
        polls_of(beside) > others + 10 && fleet.count_running("web", ":v2") == 1
    })
    .await;
    assert_eq!(polls_of(uuid), polls);
    assert!(fleet.snapshot(uuid).unwrap().runs("web", ":v1"));
    fleet.resume(uuid);
    eventually("v2 runs on both", PATIENCE, async || {
        fleet.count_running("web", ":v2") == 2
    })
    .await;
    let seen = fleet.snapshot(uuid).unwrap();
    assert_eq!(seen.images_of("web"), ["r/app:v1", "r/app:v2"]);
    assert_eq!(seen.versions, [1, 2]);
    fleet.shutdown().await;
    server.handle.stop(false).await;
}

#[tokio::test]
async fn what_could_not_be_told_is_told_when_the_server_is_back() {
    let server = Server::start();
    server.target(1, "r/app:v1");
    let (spec, behaviour) = one(Style::Existing);
    let uuid = spec.uuid;
    // Slow enough for the server to fail between the poll and the report.
    let mut pace = quick();
    pace.pull = Duration::from_millis(400);
    let fleet = Simulator::start(&server.url, vec![spec.behaving(behaviour.paced(pace))]).unwrap();
    eventually("the target is received", PATIENCE, async || {
        fleet.snapshot(uuid).unwrap().version == 1
    })
    .await;
    server.heard.broken.store(true, Ordering::Relaxed);
    eventually("v1 runs", PATIENCE, async || {
        fleet.count_running("web", ":v1") == 1
    })
    .await;
    assert!(
        !server
            .told()
            .contains(&(Some(1), Some("r/app:v1".to_owned())))
    );
    server.heard.broken.store(false, Ordering::Relaxed);
    eventually("v1 is told", PATIENCE, async || {
        server
            .told()
            .contains(&(Some(1), Some("r/app:v1".to_owned())))
    })
    .await;
    assert!(fleet.snapshot(uuid).unwrap().errors > 0);
    fleet.shutdown().await;
    server.handle.stop(false).await;
}

#[tokio::test]
async fn a_thousand_devices_fit_in_a_process() {
    const DEVICES: usize = 1000;
    let server = Server::start();
    server.target(1, "r/app:v1");
    let specs = (0..1000)
        .map(|index| {
            let mut pace = quick();
            pace.poll = Duration::from_secs(2);
            DeviceSpec::drawn(5, index, format!("d{index}"), "provisioning")
                .behaving(Behaviour::healthy(Style::Existing).paced(pace))
        })
        .collect();
    let fleet = Simulator::start(&server.url, specs).unwrap();
    eventually("every device runs v1", PATIENCE, async || {
        fleet.count_running("web", ":v1") == DEVICES
    })
    .await;
    assert_eq!(server.heard.registrations.lock().unwrap().len(), DEVICES);
    fleet.shutdown().await;
    server.handle.stop(false).await;
}
