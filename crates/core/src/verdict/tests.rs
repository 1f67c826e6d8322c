//! Verdicts as tables, and their laws.

mod checks;
mod errors;
mod laws;

use super::*;
use crate::observe::fold;
use serde_json::json;
use windlass_types::report::Report;

const IMAGE: &str = "r:5000/demo/app:v2";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

fn wanted() -> Vec<Wanted> {
    vec![Wanted {
        app_id: 1,
        service_id: 1,
        image: IMAGE.to_owned(),
        runs: true,
    }]
}

/// One report: when, the version received, and the service as (image, container, status).
type Said<'a> = (i64, i64, Option<(&'a str, &'a str, &'a str)>);

fn known(reports: &[Said<'_>]) -> Observation {
    let report = |said: &Said<'_>| -> Report {
        let services: Vec<Value> = said
            .2
            .iter()
            .map(|(image, container, status)| {
                json!({"serviceId": 1, "imageName": image, "containerId": container,
                       "status": status})
            })
            .collect();
        serde_json::from_value(json!({"version": said.1,
            "apps": {"1": {"appId": 1, "services": services}}}))
        .unwrap()
    };
    reports.iter().fold(Observation::default(), |known, said| {
        fold(&known, &report(said), at(said.0)).observation
    })
}

/// The same with what our own agent adds.
fn ours(mut known: Observation, phase: &str, error: bool, health: Option<&str>) -> Observation {
    for service in &mut known.services {
        service.phase = Some(phase.to_owned());
        service.phase_since = service.image_since;
        service.error = error
            .then(|| serde_json::from_value(json!({"type": "start", "message": "no"})).unwrap());
        service.health =
            health.map(|status| serde_json::from_value(json!({"status": status})).unwrap());
    }
    known
}

fn facts<'a>(
    status: DeviceStatus,
    wanted: &'a [Wanted],
    observation: Option<&'a Observation>,
    seen: Option<i64>,
) -> Facts<'a> {
    Facts {
        status,
        since: at(0),
        admitted_at: at(0),
        deadline_at: at(300),
        target_version: 2,
        wanted,
        observation,
        last_seen_at: seen.map(at),
        steps: Steps::default(),
        presence: Presence::default(),
        server_checks: &[],
    }
}

/// Window 30 s, deadline 300 s, silence 180 s, 3 restarts.
fn rule() -> HealthRule {
    HealthRule::default()
}

#[test]
fn devices_are_judged_by_what_they_show_and_when() {
    use DeviceStatus::{Completed, Failed, Scheduled, Unreachable, Updating, Verifying};
    let old = Some(("r:5000/demo/app:v1", "a", "running"));
    let new = Some((IMAGE, "b", "running"));
    let other = |container| Some((IMAGE, container, "running"));
    type Case<'a> = (
        &'a str,
        &'a [Said<'a>],
        Option<i64>,
        i64,
        DeviceStatus,
        Option<Reason>,
    );
    let loops = [
        (10, 2, other("b")),
        (20, 2, other("c")),
        (30, 2, other("d")),
        (40, 2, other("e")),
    ];
    let late = [
        (10, 2, other("b")),
        (200, 2, other("c")),
        (310, 2, other("d")),
    ];
    let cases: &[Case<'_>] = &[
        ("nothing heard yet", &[], None, 10, Scheduled, None),
        ("seen, nothing reported", &[], Some(5), 10, Scheduled, None),
        (
            "silent since admission",
            &[],
            None,
            180,
            Unreachable,
            Some(Reason::Silent),
        ),
        (
            "silent, seen before admission only",
            &[(-50, 1, old)],
            Some(-5),
            180,
            Unreachable,
            Some(Reason::Silent),
        ),
        (
            "not yet silent for long enough",
            &[],
            Some(1),
            180,
            Scheduled,
            None,
        ),
        (
            "the version is received, the old image runs",
            &[(10, 2, old)],
            None,
            11,
            Updating,
            None,
        ),
        (
            "the new image runs",
            &[(10, 2, new)],
            None,
            11,
            Verifying,
            None,
        ),
        (
            "the window has passed, the device not seen",
            &[(10, 2, new)],
            Some(39),
            45,
            Verifying,
            None,
        ),
        (
            "the window has passed and it polled after",
            &[(10, 2, new)],
            Some(40),
            45,
            Completed,
            None,
        ),
        (
            "judged late, on what was seen then",
            &[(10, 2, new)],
            Some(40),
            5000,
            Completed,
            None,
        ),
        (
            "silent after the image ran",
            &[(10, 2, new)],
            None,
            190,
            Unreachable,
            Some(Reason::SilentAfterUpdate),
        ),
        (
            "restarted inside the window",
            &[(10, 2, new), (30, 2, other("c"))],
            Some(45),
            45,
            Verifying,
            None,
        ),
        (
            "restarted inside the window, then stable",
            &[(10, 2, new), (30, 2, other("c"))],
            Some(60),
            60,
            Completed,
            None,
        ),
        (
            "a crash loop",
            &loops,
            None,
            41,
            Failed,
            Some(Reason::CrashLoop),
        ),
        (
            "a crash loop, absent for the moment",
            &[loops[0], loops[1], loops[2], loops[3], (50, 2, None)],
            None,
            51,
            Failed,
            Some(Reason::CrashLoop),
        ),
        (
            "the wrong image at the deadline, seen after it",
            &[(10, 2, old)],
            Some(301),
            302,
            Failed,
            Some(Reason::WrongImage),
        ),
        (
            "the wrong image at the deadline, not seen after it",
            &[(10, 2, old)],
            Some(290),
            302,
            Updating,
            None,
        ),
        (
            "and silent from then on",
            &[(10, 2, old)],
            Some(290),
            470,
            Unreachable,
            Some(Reason::SilentAfterUpdate),
        ),
        (
            "absent at the deadline: a failed pull",
            &[(10, 2, old), (20, 2, None)],
            Some(301),
            302,
            Failed,
            Some(Reason::Absent),
        ),
        (
            "never there at all",
            &[(10, 2, None)],
            Some(301),
            302,
            Failed,
            Some(Reason::Absent),
        ),
        (
            "exited at the deadline",
            &[(10, 2, new), (20, 2, Some((IMAGE, "b", "exited")))],
            Some(301),
            302,
            Failed,
            Some(Reason::NotRunning),
        ),
        (
            "polls, but reports nothing",
            &[],
            Some(301),
            302,
            Failed,
            Some(Reason::NoReport),
        ),
        (
            "a window opened in time may end after the deadline",
            &[(290, 2, new)],
            Some(310),
            310,
            Verifying,
            None,
        ),
        (
            "and ends well",
            &[(290, 2, new)],
            Some(320),
            321,
            Completed,
            None,
        ),
        (
            "one that opened after the deadline may not",
            &late,
            Some(311),
            312,
            Failed,
            Some(Reason::Unstable),
        ),
        (
            "a moved tag is another image",
            &[(10, 2, Some(("sha256:0123", "b", "running")))],
            Some(301),
            302,
            Failed,
            Some(Reason::WrongImage),
        ),
        (
            "what ran before the admission proves nothing",
            &[(-100, 1, new)],
            Some(100),
            100,
            Scheduled,
            None,
        ),
    ];
    let wanted = wanted();
    for (name, reports, seen, now, status, reason) in cases {
        let known = known(reports);
        let judged = judge(
            &facts(Scheduled, &wanted, Some(&known), *seen),
            &rule(),
            at(*now),
        )
        .unwrap();
        assert_eq!((judged.status, judged.reason), (*status, *reason), "{name}");
        let open = judged.status.is_in_flight();
        assert_eq!(judged.check_at.is_some(), open, "{name}");
        assert!(
            judged.check_at.is_none_or(|check| check > at(*now)),
            "{name}"
        );
        assert!(judged.evidence["summary"].is_string(), "{name}");
    }
}

#[test]
fn our_agents_words_count() {
    use DeviceStatus::{Completed, Failed, Updating, Verifying};
    let new = known(&[(10, 2, Some((IMAGE, "b", "running")))]);
    let old = known(&[(10, 2, Some(("r:5000/demo/app:v1", "a", "running")))]);
    let cases = [
        (
            "probes pass",
            ours(new.clone(), "running", false, Some("healthy")),
            45,
            Completed,
            None,
        ),
        (
            "probes on their way",
            ours(new.clone(), "verifying", false, Some("starting")),
            45,
            Verifying,
            None,
        ),
        (
            "probes fail",
            ours(new.clone(), "verifying", false, Some("unhealthy")),
            45,
            Verifying,
            None,
        ),
        (
            "probes fail to the deadline",
            ours(new.clone(), "verifying", false, Some("unhealthy")),
            301,
            Failed,
            Some(Reason::Unhealthy),
        ),
        (
            "the update failed",
            ours(old.clone(), "failed", true, None),
            12,
            Failed,
            Some(Reason::UpdateError),
        ),
        (
            "it failed without saying why",
            ours(old.clone(), "failed", false, None),
            12,
            Updating,
            None,
        ),
    ];
    let wanted = wanted();
    for (name, known, now, status, reason) in cases {
        let facts = facts(DeviceStatus::Scheduled, &wanted, Some(&known), Some(now));
        let judged = judge(&facts, &rule(), at(now)).unwrap();
        assert_eq!((judged.status, judged.reason), (status, reason), "{name}");
    }
    // An error of the update before is not about this one.
    let mut stale = ours(old, "failed", true, None);
    stale.services[0].phase_since = Some(at(-5));
    let facts = facts(DeviceStatus::Scheduled, &wanted, Some(&stale), Some(12));
    assert_eq!(judge(&facts, &rule(), at(12)).unwrap().status, Updating);
}

#[test]
fn each_step_is_told_once_and_in_order() {
    use EventType::{
        ContainerUpdating, HealthCheckPassed, ImagePulled, ImagePulling, UpdateCompleted,
        VerificationStarted,
    };
    let wanted = wanted();
    let old = known(&[(10, 2, Some(("r:5000/demo/app:v1", "a", "running")))]);
    let new = known(&[(20, 2, Some((IMAGE, "b", "running")))]);
    let story = [
        (
            ours(old.clone(), "pulling", false, None),
            11,
            vec![ContainerUpdating, ImagePulling],
        ),
        (ours(old.clone(), "pulling", false, None), 12, vec![]),
        (ours(old, "pulled", false, None), 15, vec![ImagePulled]),
        (
            ours(new.clone(), "verifying", false, None),
            21,
            vec![VerificationStarted],
        ),
        (
            ours(new, "running", false, None),
            60,
            vec![HealthCheckPassed, UpdateCompleted],
        ),
    ];
    let (mut status, mut evidence) = (DeviceStatus::Scheduled, None);
    for (known, now, events) in story {
        let facts = Facts {
            steps: Steps::read(evidence.as_ref()),
            ..facts(status, &wanted, Some(&known), Some(now))
        };
        let judged = judge(&facts, &rule(), at(now)).unwrap();
        assert_eq!(judged.events, events, "at {now}");
        (status, evidence) = (judged.status, Some(judged.evidence));
    }
    assert_eq!(status, DeviceStatus::Completed);
}

/// A device that takes its target, keeps the old image, and is there for so many seconds every hour:
/// the visit in which it was judged for good, and how.
fn visits(seconds: i64) -> Option<(i64, DeviceStatus, Option<Reason>)> {
    let wanted = wanted();
    let known = known(&[(1, 2, Some(("r:5000/demo/app:v1", "a", "running")))]);
    let (mut status, mut evidence, mut deadline_at, mut since) =
        (DeviceStatus::Scheduled, None, at(300), at(0));
    for visit in 0..50 {
        let start = visit * 3600;
        let (mut now, end) = (start + 1, start + 1 + seconds);
        while now < start + 3600 {
            let facts = Facts {
                since,
                deadline_at,
                steps: Steps::read(evidence.as_ref()),
                presence: Presence::read(evidence.as_ref()),
                ..facts(status, &wanted, Some(&known), Some(now.min(end)))
            };
            if let Some(judged) = judge(&facts, &rule(), at(now)) {
                if !matches!(judged.status, DeviceStatus::Unreachable) && judged.check_at.is_none()
                {
                    return Some((visit, judged.status, judged.reason));
                }
                if judged.status != status {
                    since = at(now);
                }
                (status, deadline_at) = (judged.status, judged.deadline_at);
                evidence = Some(judged.evidence);
            }
            now += 5;
        }
    }
    None
}

#[test]
fn a_device_that_comes_and_goes_has_its_time_once_and_silence_is_no_part_of_it() {
    let failed = |visit| Some((visit, DeviceStatus::Failed, Some(Reason::WrongImage)));
    assert_eq!(visits(1000), failed(0), "it stays");
    assert_eq!(
        visits(100),
        failed(2),
        "three visits of 100 s make up 300 s"
    );
    assert_eq!(visits(0), None, "a glimpse an hour is hardly being there");
}

#[test]
fn a_device_that_comes_back_gets_its_time_again() {
    let wanted = wanted();
    let known = known(&[(1010, 2, Some(("r:5000/demo/app:v1", "a", "running")))]);
    let unreachable = |seen| Facts {
        since: at(180),
        ..facts(DeviceStatus::Unreachable, &wanted, None, seen)
    };
    assert_eq!(judge(&unreachable(None), &rule(), at(5000)), None);
    assert_eq!(judge(&unreachable(Some(100)), &rule(), at(5000)), None);
    let back = Facts {
        observation: Some(&known),
        ..unreachable(Some(1010))
    };
    let judged = judge(&back, &rule(), at(1010)).unwrap();
    assert_eq!(judged.status, DeviceStatus::Updating);
    assert_eq!(judged.deadline_at, at(1310));
    assert_eq!(
        judge(&back, &rule(), at(5000)),
        None,
        "gone again meanwhile"
    );
}

#[test]
fn every_service_of_the_rollout_counts_and_stopped_ones_prove_nothing() {
    let mut two = wanted();
    two.push(Wanted {
        service_id: 2,
        ..two[0].clone()
    });
    let known = known(&[(10, 2, Some((IMAGE, "b", "running")))]);
    let with_two = facts(DeviceStatus::Scheduled, &two, Some(&known), Some(60));
    let judged = judge(&with_two, &rule(), at(60)).unwrap();
    assert_eq!(judged.status, DeviceStatus::Updating, "one is missing");
    two[1].runs = false;
    let with_two = facts(DeviceStatus::Scheduled, &two, Some(&known), Some(60));
    let judged = judge(&with_two, &rule(), at(60)).unwrap();
    assert_eq!(judged.status, DeviceStatus::Completed);
    let none = facts(DeviceStatus::Scheduled, &[], Some(&known), Some(60));
    assert_eq!(judge(&none, &rule(), at(60)), None, "nothing to judge by");
}

#[test]
fn only_what_the_rollout_moved_and_nobody_changed_is_wanted() {
    let state = |images: [&str; 3]| -> windlass_types::target::TargetState {
        let services: Vec<_> = images
            .iter()
            .zip(1..)
            .map(|(image, id)| json!({"serviceId": id, "serviceName": "s", "imageName": image}))
            .collect();
        serde_json::from_value(json!({"apps": {"1": {"appId": 1, "appName": "demo",
            "services": services}}, "config": {}}))
        .unwrap()
    };
    let shipped = Shipped {
        repository: &"r:5000/demo/app".parse().unwrap(),
        tag_rule: &windlass_types::policy::TagRule::Glob {
            pattern: "v*".to_owned(),
        },
        tag: Some("v2"),
        digest: None,
    };
    let before = state(["r:5000/demo/app:v1", "r:5000/demo/app:beta", "nginx:1"]);
    let ids = |present: [&str; 3]| -> Vec<i64> {
        wanted_of(&state(present), Some(&before), shipped)
            .iter()
            .map(|w| w.service_id)
            .collect()
    };
    assert_eq!(ids([IMAGE, "r:5000/demo/app:beta", "nginx:1"]), [1]);
    assert_eq!(
        ids([IMAGE, IMAGE, "nginx:2"]),
        [1],
        "the second was not the rollout's"
    );
    assert_eq!(ids(["r:5000/demo/app:v3", IMAGE, "nginx:1"]), [0_i64; 0]);
}
