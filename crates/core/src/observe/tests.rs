//! The behaviours of existing agents (device protocol, section 3), one by one.

use super::*;
use serde_json::{Value, json};
use windlass_types::ids::ReportId;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

fn service(image: &str, container: &str, status: &str) -> Value {
    json!({"serviceId": 1, "serviceName": "web", "imageName": image, "containerId": container,
           "status": status, "state": status, "config": {"a": 1}})
}

fn report(version: Option<i64>, services: &[Value]) -> Report {
    let mut body = json!({"apps": {"1001": {"appId": 1001, "services": services}}});
    if let Some(version) = version {
        body["version"] = json!(version);
    }
    serde_json::from_value(body).unwrap()
}

/// Folds reports ten seconds apart and returns what is known at the end.
fn folded(reports: &[Report]) -> Observation {
    let mut known = Observation::default();
    for (n, report) in (0..).zip(reports) {
        known = fold(&known, report, at(n * 10)).observation;
    }
    known
}

fn one(image: &str, container: &str, status: &str) -> Report {
    report(Some(2), &[service(image, container, status)])
}

fn empty() -> Report {
    report(Some(2), &[])
}

#[test]
fn the_version_is_what_was_received_and_the_image_what_runs() {
    let known = folded(&[report(Some(12), &[service("app:v1", "a", "running")])]);
    assert_eq!(known.version_received, Some(12));
    assert_eq!(known.services[0].image.as_deref(), Some("app:v1"));
    let lower = fold(&known, &report(Some(3), &[]), at(99)).observation;
    assert_eq!(lower.version_received, Some(12), "it is never lowered");
}

#[test]
fn a_failed_pull_leaves_the_service_absent() {
    let known = folded(&[
        one("app:v1", "a", "running"),
        serde_json::from_value(json!({"apps": {}, "version": 3})).unwrap(),
    ]);
    let service = &known.services[0];
    assert_eq!((service.status.as_str(), &service.image), ("absent", &None));
    assert_eq!(service.absent_since, Some(at(10)));
    assert_eq!(service.running_since, None);
    assert_eq!(known.version_received, Some(3));
}

#[test]
fn a_replayed_report_is_history_and_changes_nothing() {
    let known = folded(&[one("app:v2", "b", "running")]);
    let replayed = report(None, &[service("app:v1", "a", "exited")]);
    let result = fold(&known, &replayed, at(100));
    assert_eq!(result.kind, Kind::History);
    assert!(!result.changed);
    assert_eq!(result.observation, known);
    let first = fold(&Observation::default(), &replayed, at(0));
    assert_eq!(first.kind, Kind::History, "also where nothing is known yet");
}

#[test]
fn a_changed_container_on_the_same_image_is_a_restart() {
    let known = folded(&[
        one("app:v2", "a", "running"),
        one("app:v2", "b", "running"),
        one("app:v2", "b", "running"),
    ]);
    assert_eq!(known.services[0].restarts, 1);
    assert_eq!(known.services[0].running_since, Some(at(10)));
    let updated = folded(&[one("app:v1", "a", "running"), one("app:v2", "b", "running")]);
    assert_eq!(updated.services[0].restarts, 0, "an update is none");
    assert_eq!(updated.services[0].image_since, Some(at(10)));
    assert_eq!(
        updated.services[0].previous_image.as_deref(),
        Some("app:v1")
    );
}

#[test]
fn restarts_are_counted_however_a_crash_loop_flaps() {
    type Steps<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(&str, Steps<'_>, i64)] = &[
        ("steady", &[("a", "running"), ("a", "running")], 0),
        ("created first", &[("a", "created"), ("a", "running")], 0),
        (
            "restarting and back",
            &[("a", "running"), ("a", "restarting"), ("a", "running")],
            1,
        ),
        (
            "restarting for long",
            &[("a", "running"), ("a", "restarting"), ("a", "restarting")],
            1,
        ),
        ("never seen running", &[("a", "restarting")], 1),
        (
            "exited and replaced",
            &[("a", "running"), ("a", "exited"), ("b", "running")],
            1,
        ),
        (
            "exited, absent, replaced",
            &[
                ("a", "running"),
                ("a", "exited"),
                ("", ""),
                ("b", "running"),
            ],
            1,
        ),
        (
            "absent and replaced",
            &[("a", "running"), ("", ""), ("b", "running")],
            1,
        ),
        (
            "replaced while failing",
            &[("a", "restarting"), ("b", "restarting")],
            2,
        ),
        (
            "twice",
            &[
                ("a", "running"),
                ("a", "dead"),
                ("a", "running"),
                ("a", "exited"),
            ],
            2,
        ),
        (
            "one empty report",
            &[("a", "running"), ("", ""), ("a", "running")],
            0,
        ),
        (
            "paused and back",
            &[("a", "running"), ("a", "paused"), ("a", "running")],
            0,
        ),
    ];
    for (name, steps, restarts) in cases {
        let reports: Vec<Report> = steps
            .iter()
            .map(|(container, status)| match *container {
                "" => empty(),
                container => one("app:v2", container, status),
            })
            .collect();
        assert_eq!(folded(&reports).services[0].restarts, *restarts, "{name}");
    }
}

#[test]
fn whatever_breaks_running_begins_the_window_anew() {
    for gap in [
        empty(),
        one("app:v2", "a", "restarting"),
        one("app:v2", "a", "paused"),
    ] {
        let known = folded(&[
            one("app:v2", "a", "running"),
            one("app:v2", "a", "running"),
            gap,
            one("app:v2", "a", "running"),
            one("app:v2", "a", "running"),
        ]);
        assert_eq!(known.services[0].running_since, Some(at(30)));
        assert_eq!(known.services[0].absent_since, None);
    }
}

#[test]
fn a_service_listed_twice_is_told_by_the_update_and_stays_so() {
    let old = service("app:v1", "a", "running");
    let new = service("app:v2", "b", "running");
    let gone = service("app:v1", "a", "exited");
    let cases = [
        ("both run", vec![old.clone(), new.clone()]),
        (
            "both run, the other way round",
            vec![new.clone(), old.clone()],
        ),
        ("the old one has exited", vec![new.clone(), gone.clone()]),
        ("the old one has exited, first", vec![gone, new.clone()]),
    ];
    for (name, twice) in cases {
        let mut known = folded(&[one("app:v1", "a", "running")]);
        for n in 1..4 {
            known = fold(&known, &report(Some(2), &twice), at(n * 10)).observation;
            assert_eq!(known.services.len(), 1, "{name}");
            let service = &known.services[0];
            assert_eq!(service.image.as_deref(), Some("app:v2"), "{name}");
            assert_eq!(service.restarts, 0, "{name}");
            assert_eq!(service.running_since, Some(at(10)), "{name}");
        }
    }
    // A new container that does not run does not speak for a service whose old one does.
    let known = folded(&[
        one("app:v1", "a", "running"),
        report(Some(2), &[service("app:v2", "b", "created"), old]),
    ]);
    assert_eq!(known.services[0].image.as_deref(), Some("app:v1"));
}

#[test]
fn a_tag_moved_on_the_device_keeps_the_container_but_not_the_name() {
    let known = folded(&[
        one("app:v2", "a", "running"),
        one("sha256:0123", "a", "running"),
    ]);
    let service = &known.services[0];
    assert_eq!(service.image.as_deref(), Some("sha256:0123"));
    assert_eq!((service.restarts, service.running_since), (0, Some(at(0))));
}

#[test]
fn only_what_is_material_counts_as_changed() {
    let body = |retries: i64, output: &str| -> Report {
        serde_json::from_value(
            json!({"version": 2, "cpu_usage": retries, "apps": {"1": {"services": [
            {"serviceId": 1, "imageName": "app:v2", "containerId": "a", "status": "running",
             "health": {"status": "unhealthy", "probe": "http", "output": output},
             "error": {"type": "health", "message": "no", "retryCount": retries}}]}}}),
        )
        .unwrap()
    };
    let first = fold(&Observation::default(), &body(1, "x"), at(0));
    assert!(first.changed);
    let second = fold(&first.observation, &body(2, "y"), at(10));
    assert!(!second.changed);
    assert_eq!(second.observation.last_report_at, Some(at(10)));
    assert_eq!(
        second.observation.services[0].app_id, 1,
        "the key stands in for the id"
    );
    let version_only = report(Some(3), &[]);
    let known = folded(&[empty()]);
    assert!(fold(&known, &version_only, at(20)).changed);
    let silent: Report = serde_json::from_value(json!({"version": 2, "uptime": 5})).unwrap();
    let kept = fold(&second.observation, &silent, at(20));
    assert!(!kept.changed, "a report without apps says nothing of them");
    assert_eq!(kept.observation.services, second.observation.services);
}

#[test]
fn odd_fields_cost_themselves_and_not_the_report() {
    let odd: Report = serde_json::from_value(json!({"version": "2", "apps": {"x": {"services": [
        {"serviceId": 1, "imageName": "app:v1"}]}, "1001": {"appId": "?", "services": [
        {"serviceId": "one", "imageName": "app:v1"},
        {"serviceId": 2, "imageName": 7, "status": ["running"], "health": "fine", "error": 4}]}},
        "reportedAt": "2024-10-04T00:00:00Z"}))
    .unwrap();
    let known = fold(&Observation::default(), &odd, at(0));
    assert_eq!(known.kind, Kind::Current);
    assert_eq!(known.observation.services.len(), 1);
    let service = &known.observation.services[0];
    assert_eq!((service.app_id, service.service_id), (1001, 2));
    assert_eq!(
        (service.status.as_str(), &service.image),
        ("unknown", &None)
    );
}

fn ours(id: u128, reported: DateTime<Utc>, version: Option<i64>) -> Report {
    Report {
        report_id: Some(ReportId(uuid::Uuid::from_u128(id))),
        reported_at: Some(reported),
        ..report(version, &[service("app:v2", "a", "running")])
    }
}

#[test]
fn our_agents_reports_are_ordered_by_their_own_clock() {
    let known = fold(&Observation::default(), &ours(5, at(0), Some(2)), at(0)).observation;
    let cases = [
        (
            "the same again",
            ours(5, at(0), Some(2)),
            1,
            Kind::Duplicate,
        ),
        ("an earlier one", ours(4, at(-60), Some(2)), 1, Kind::Older),
        (
            "an earlier one of the same moment",
            ours(4, at(0), Some(2)),
            1,
            Kind::Older,
        ),
        (
            "a later one of the same moment",
            ours(6, at(0), Some(2)),
            1,
            Kind::Current,
        ),
        ("a later one", ours(6, at(1), Some(2)), 1, Kind::Current),
        (
            "a later one without a version",
            ours(6, at(1), None),
            1,
            Kind::Current,
        ),
        (
            "an existing agent's after a downgrade",
            report(Some(2), &[]),
            1,
            Kind::Current,
        ),
        // The clock was set back: nothing fresh came for long, so this is no replay.
        (
            "a clock set back for good",
            ours(4, at(-86_400), Some(2)),
            1000,
            Kind::Current,
        ),
    ];
    for (name, report, received, kind) in cases {
        assert_eq!(fold(&known, &report, at(received)).kind, kind, "{name}");
    }
    // A device whose clock was a day ahead and is right now is heard at once.
    let ahead = fold(
        &Observation::default(),
        &ours(5, at(86_400), Some(2)),
        at(0),
    )
    .observation;
    assert_eq!(
        fold(&ahead, &ours(4, at(10), Some(2)), at(10)).kind,
        Kind::Current
    );
    assert_eq!(
        fold(&ahead, &ours(4, at(86_300), Some(2)), at(10)).kind,
        Kind::Older
    );
}

#[test]
fn what_is_known_stays_bounded() {
    let many: Vec<Value> = (0..MAX_SERVICES * 2)
        .map(|id| {
            let mut one = service(&"x".repeat(5000), &"y".repeat(5000), "running");
            one["serviceId"] = json!(id);
            one
        })
        .collect();
    let known = folded(&[report(Some(1), &many)]);
    assert_eq!(known.services.len(), MAX_SERVICES);
    let size = serde_json::to_vec(&known).unwrap().len();
    assert!(size < MAX_SERVICES * 2000, "{size}");
    // Present services are kept before absent ones, which are forgotten in the end.
    let few = report(Some(1), &many[MAX_SERVICES..MAX_SERVICES + 5]);
    let known = fold(&known, &few, at(10)).observation;
    assert_eq!(known.services.len(), MAX_SERVICES);
    assert_eq!(
        known
            .services
            .iter()
            .filter(|s| s.status == "running")
            .count(),
        5
    );
    let later = at(11) + FORGET_AFTER;
    assert_eq!(fold(&known, &few, later).observation.services.len(), 5);
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    fn any_report() -> impl Strategy<Value = Report> {
        let one = (
            0..3_i64,
            prop::sample::select(vec!["app:v1", "app:v2", "sha256:01"]),
            prop::sample::select(vec!["a", "b"]),
            prop::sample::select(vec!["running", "restarting", "exited", "created"]),
        )
            .prop_map(|(id, image, container, status)| {
                let mut one = service(image, container, status);
                one["serviceId"] = json!(id);
                one
            });
        (prop::option::of(1..9_i64), prop::collection::vec(one, 0..5))
            .prop_map(|(version, services)| report(version, &services))
    }

    proptest! {
        #[test]
        fn the_order_of_containers_in_a_report_does_not_matter(
            reports in prop::collection::vec(any_report(), 1..8)
        ) {
            let turned: Vec<Report> = reports.iter().cloned().map(|mut report| {
                for app in report.apps.iter_mut().flat_map(|apps| apps.values_mut()) {
                    app.services.reverse();
                }
                report
            }).collect();
            prop_assert_eq!(folded(&reports), folded(&turned));
        }

        #[test]
        fn the_same_report_again_changes_nothing(
            reports in prop::collection::vec(any_report(), 1..8), last in any_report()
        ) {
            let known = fold(&folded(&reports), &last, at(500)).observation;
            prop_assert!(!fold(&known, &last, at(510)).changed);
        }

        #[test]
        fn history_dropped_or_doubled_gives_the_same(
            reports in prop::collection::vec(any_report(), 1..8)
        ) {
            let mut known = Observation::default();
            for (n, report) in (0..).zip(&reports) {
                let current = fold(&known, report, at(n * 10));
                let mut replayed = report.clone();
                replayed.version = None;
                let after = fold(&current.observation, &replayed, at(n * 10 + 1));
                prop_assert_eq!(&after.observation, &current.observation);
                known = current.observation;
            }
        }

        #[test]
        fn a_running_service_has_a_time_and_others_have_none(
            reports in prop::collection::vec(any_report(), 1..8)
        ) {
            for service in folded(&reports).services {
                prop_assert_eq!(service.running_since.is_some(), service.status == "running");
                prop_assert_eq!(service.absent_since.is_some(), service.status == ABSENT);
            }
        }
    }
}
