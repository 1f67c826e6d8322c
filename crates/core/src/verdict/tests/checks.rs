//! Checks of a device as part of its verdict.

use super::*;
use windlass_types::policy::{Check, CheckFrom, CheckKind};
use windlass_types::rollout::CheckStatus;

fn with(checks: Vec<Check>) -> HealthRule {
    HealthRule { checks, ..rule() }
}

fn from(kind: CheckKind, from: CheckFrom) -> Check {
    Check {
        from: Some(from),
        ..Check::new(kind)
    }
}

fn server(status: CheckStatus) -> ServerCheck {
    ServerCheck {
        position: 0,
        status,
        tries: 1,
        output: "it answers 500".to_owned(),
        checked_at: Some(at(20)),
        deadline_at: at(300),
    }
}

#[test]
fn checks_that_the_server_runs_decide_beside_the_window() {
    use DeviceStatus::{Completed, Failed, Inconclusive, Unreachable, Verifying};
    let new = [(10, 2, Some((IMAGE, "b", "running")))];
    let known = known(&new);
    let (pending, passed) = (Some(CheckStatus::Pending), Some(CheckStatus::Passed));
    let (failed, unable) = (Some(CheckStatus::Failed), Some(CheckStatus::Inconclusive));
    let cases = [
        ("passed, the window open", passed, 20, 20, Verifying, None),
        ("passed, the window over", passed, 45, 45, Completed, None),
        (
            "not decided, the window over",
            pending,
            45,
            45,
            Verifying,
            None,
        ),
        ("not begun, the window over", None, 45, 45, Verifying, None),
        (
            "failed, the window open",
            failed,
            20,
            20,
            Failed,
            Some(Reason::CheckFailed),
        ),
        (
            "cannot be run, the window open",
            unable,
            20,
            20,
            Verifying,
            None,
        ),
        (
            "cannot be run, the window over",
            unable,
            45,
            45,
            Inconclusive,
            Some(Reason::ChecksUndecided),
        ),
        (
            "not decided at the deadline: it has its own time",
            pending,
            290,
            300,
            Verifying,
            None,
        ),
        (
            "not decided when that is over",
            pending,
            355,
            361,
            Inconclusive,
            Some(Reason::ChecksUndecided),
        ),
        (
            "not decided, and silent",
            pending,
            45,
            225,
            Unreachable,
            Some(Reason::SilentAfterUpdate),
        ),
    ];
    let rule = with(vec![from(CheckKind::Http, CheckFrom::Server)]);
    let wanted = wanted();
    for (name, status, seen, now, expected, reason) in cases {
        let checks: Vec<ServerCheck> = status.map(server).into_iter().collect();
        let facts = Facts {
            server_checks: &checks,
            ..facts(Verifying, &wanted, Some(&known), Some(seen))
        };
        let judged = judge(&facts, &rule, at(now)).unwrap();
        assert_eq!((judged.status, judged.reason), (expected, reason), "{name}");
        assert_eq!(judged.check_at.is_some(), expected.is_in_flight(), "{name}");
        let written = &judged.evidence["checks"][0];
        let shown = status.unwrap_or(CheckStatus::Pending);
        assert_eq!(written["status"], json!(shown), "{name}");
        assert_eq!(written["type"], "http", "{name}");
    }
}

#[test]
fn a_network_outage_of_its_site_is_silence_and_no_failed_check() {
    use DeviceStatus::{Failed, Unreachable, Verifying};
    let known = known(&[(10, 2, Some((IMAGE, "b", "running")))]);
    let silent = Some(Reason::SilentAfterUpdate);
    let cases = [
        ("not seen since the check", 60, 99, 110, Verifying, None),
        ("shortly before silence", 60, 99, 239, Verifying, None),
        ("silent for long", 60, 99, 240, Unreachable, silent),
        (
            "seen after the check",
            99,
            99,
            110,
            Failed,
            Some(Reason::CheckFailed),
        ),
        ("past the deadline", 290, 299, 400, Verifying, None),
        (
            "past the deadline and silent",
            290,
            299,
            470,
            Unreachable,
            silent,
        ),
    ];
    let rule = with(vec![from(CheckKind::Http, CheckFrom::Server)]);
    let wanted = wanted();
    for (name, seen, checked, now, status, reason) in cases {
        let checks = [ServerCheck {
            checked_at: Some(at(checked)),
            ..server(CheckStatus::Failed)
        }];
        let facts = Facts {
            server_checks: &checks,
            ..facts(Verifying, &wanted, Some(&known), Some(seen))
        };
        let judged = judge(&facts, &rule, at(now)).unwrap();
        assert_eq!((judged.status, judged.reason), (status, reason), "{name}");
        let later = judged.check_at;
        assert_eq!(later.is_some(), status.is_in_flight(), "{name}");
        assert!(later.is_none_or(|later| later <= at(seen + 180)), "{name}");
    }
}

#[test]
fn a_check_that_passed_before_the_window_began_anew_is_begun_anew() {
    use DeviceStatus::{Completed, Inconclusive, Verifying};
    // Another container of the same image since 50: the window goes to 80.
    let known = known(&[
        (10, 2, Some((IMAGE, "b", "running"))),
        (50, 2, Some((IMAGE, "c", "running"))),
    ]);
    let rule = with(vec![from(CheckKind::Http, CheckFrom::Server)]);
    let wanted = wanted();
    let judged = |checked: i64, status, until: i64, now: i64| {
        let checks = [ServerCheck {
            checked_at: Some(at(checked)),
            deadline_at: at(until),
            ..server(status)
        }];
        let facts = Facts {
            server_checks: &checks,
            ..facts(Verifying, &wanted, Some(&known), Some(now))
        };
        judge(&facts, &rule, at(now)).unwrap()
    };
    let (passed, pending) = (CheckStatus::Passed, CheckStatus::Pending);
    let old = judged(20, passed, 300, 55);
    assert_eq!((old.status, old.checks_anew), (Verifying, vec![0]));
    assert_eq!(old.evidence["checks"][0]["status"], json!(pending));
    // Also where it is found late: it is no yes of this window.
    let late = judged(20, passed, 300, 90);
    assert_eq!((late.status, late.checks_anew), (Verifying, vec![0]));
    let new = judged(51, passed, 300, 55);
    assert_eq!((new.status, new.checks_anew), (Verifying, vec![]));
    assert_eq!(judged(51, passed, 300, 80).status, Completed);
    // Begun anew it has its own time anew, beyond the device's deadline.
    assert_eq!(judged(20, pending, 355, 400).status, Verifying);
    assert_eq!(judged(20, pending, 355, 416).status, Inconclusive);
}

#[test]
fn what_a_check_found_before_the_device_was_verified_is_of_another_try() {
    let known = known(&[(10, 2, Some((IMAGE, "b", "running")))]);
    let (checks, wanted) = ([server(CheckStatus::Failed)], wanted());
    let facts = Facts {
        server_checks: &checks,
        ..facts(DeviceStatus::Scheduled, &wanted, Some(&known), Some(11))
    };
    let rule = with(vec![from(CheckKind::Tcp, CheckFrom::Server)]);
    let judged = judge(&facts, &rule, at(11)).unwrap();
    assert_eq!(judged.status, DeviceStatus::Verifying);
}

#[test]
fn checks_that_the_device_runs_need_its_word() {
    use DeviceStatus::{Completed, Failed, Inconclusive, Verifying};
    let new = known(&[(10, 2, Some((IMAGE, "b", "running")))]);
    let with_health = |health| ours(new.clone(), "running", false, health);
    let cases = [
        ("they pass", Some("healthy"), 45, Completed, None),
        ("no word yet", None, 45, Verifying, None),
        (
            "an agent that reports none",
            None,
            301,
            Inconclusive,
            Some(Reason::ChecksUndecided),
        ),
        (
            "they fail to the deadline",
            Some("unhealthy"),
            301,
            Failed,
            Some(Reason::Unhealthy),
        ),
    ];
    let rule = with(vec![Check::new(CheckKind::Http)]);
    let wanted = wanted();
    for (name, health, now, status, reason) in cases {
        let known = with_health(health);
        let facts = facts(Verifying, &wanted, Some(&known), Some(now));
        let judged = judge(&facts, &rule, at(now)).unwrap();
        assert_eq!((judged.status, judged.reason), (status, reason), "{name}");
    }
}

#[test]
fn a_container_that_runs_passes_and_gates_are_no_checks_of_a_device() {
    let new = known(&[(10, 2, Some((IMAGE, "b", "running")))]);
    let rule = with(vec![
        Check::new(CheckKind::ContainerRunning),
        Check::new(CheckKind::Custom),
        Check::new(CheckKind::Prometheus),
    ]);
    let wanted = wanted();
    let facts = facts(DeviceStatus::Verifying, &wanted, Some(&new), Some(45));
    let judged = judge(&facts, &rule, at(45)).unwrap();
    assert_eq!(judged.status, DeviceStatus::Completed);
    let written = judged.evidence["checks"].as_array().unwrap();
    assert_eq!(written.len(), 1);
    assert_eq!(written[0]["output"], "the container runs");
}

#[test]
fn probes_that_failed_in_between_make_the_window_begin_anew() {
    let report = |health: &str| -> Report {
        serde_json::from_value(
            json!({"version": 2, "apps": {"1": {"appId": 1, "services": [
            {"serviceId": 1, "imageName": IMAGE, "containerId": "b", "status": "running",
             "health": {"status": health}}]}}}),
        )
        .unwrap()
    };
    let said = [
        (10, "starting"),
        (15, "healthy"),
        (20, "unhealthy"),
        (25, "unhealthy"),
        (30, "starting"),
        (35, "healthy"),
    ];
    let known = said
        .iter()
        .fold(Observation::default(), |known, (now, health)| {
            fold(&known, &report(health), at(*now)).observation
        });
    let wanted = wanted();
    let status = |now| {
        let facts = facts(DeviceStatus::Verifying, &wanted, Some(&known), Some(now));
        judge(&facts, &rule(), at(now)).unwrap().status
    };
    assert_eq!(status(45), DeviceStatus::Verifying, "30 s since it ran");
    assert_eq!(status(59), DeviceStatus::Verifying);
    assert_eq!(
        status(60),
        DeviceStatus::Completed,
        "30 s since they failed"
    );
}
