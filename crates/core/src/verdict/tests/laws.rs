//! What holds whatever devices report.

use super::*;
use proptest::prelude::*;
use windlass_types::policy::{Check, CheckFrom, CheckKind};

fn any_reports() -> impl Strategy<Value = Vec<Said<'static>>> {
    let service = prop::option::weighted(
        0.8,
        (
            prop::sample::select(vec![IMAGE, "r:5000/demo/app:v1", "sha256:01"]),
            prop::sample::select(vec!["a", "b", "c"]),
            prop::sample::select(vec!["running", "running", "restarting", "exited"]),
        ),
    );
    prop::collection::vec((1..60_i64, 1..3_i64, service), 0..12).prop_map(|steps| {
        let mut now = 0;
        steps
            .into_iter()
            .map(|(wait, version, service)| {
                now += wait;
                (now, version, service)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_device_that_is_seen_is_judged_within_a_bound(
        reports in any_reports(), end in 0..100_i64
    ) {
        let (wanted, rule) = (wanted(), rule());
        let known = known(&reports);
        let mut now = reports.last().map_or(0, |said| said.0) + end;
        let mut status = DeviceStatus::Scheduled;
        let bound = at(now.max(300) + 30 + 2 * 7);
        let mut steps = 0;
        loop {
            let facts = facts(status, &wanted, Some(&known), Some(now));
            let judged = judge(&facts, &rule, at(now)).unwrap();
            let Some(check) = judged.check_at else { break };
            prop_assert!(check > at(now));
            prop_assert!(check <= bound, "{check} after {bound}");
            status = judged.status;
            now = (check - at(0)).num_seconds();
            steps += 1;
            prop_assert!(steps < 200);
        }
    }

    #[test]
    fn silence_never_fails_and_never_proves(
        reports in any_reports(), now in 0..5000_i64
    ) {
        // Nothing was seen after the admission.
        let early: Vec<Said<'_>> = reports.iter().map(|said| (said.0 - 2000, said.1, said.2)).collect();
        let (wanted, known) = (wanted(), known(&early));
        let facts = facts(DeviceStatus::Scheduled, &wanted, Some(&known), Some(-1));
        let judged = judge(&facts, &rule(), at(now)).unwrap();
        prop_assert!(!matches!(judged.status, DeviceStatus::Completed | DeviceStatus::Failed));
    }

    #[test]
    fn completed_means_the_wanted_image(reports in any_reports(), wait in 0..500_i64) {
        let (wanted, known) = (wanted(), known(&reports));
        let now = reports.last().map_or(0, |said| said.0) + wait;
        let facts = facts(DeviceStatus::Scheduled, &wanted, Some(&known), Some(now));
        let judged = judge(&facts, &rule(), at(now)).unwrap();
        if judged.status == DeviceStatus::Completed {
            let service = &known.services[0];
            prop_assert_eq!(service.image.as_deref(), Some(IMAGE));
            prop_assert_eq!(service.status.as_str(), "running");
            prop_assert!(at(now) - service.running_since.unwrap() >= TimeDelta::seconds(30));
        }
    }

    #[test]
    fn a_replayed_report_never_changes_a_verdict(
        reports in any_reports(), replayed in any_reports(), wait in 0..500_i64
    ) {
        let wanted = wanted();
        let before = known(&reports);
        let now = reports.last().map_or(0, |said| said.0) + wait;
        let mut after = before.clone();
        for said in &replayed {
            let services: Vec<_> = said.2.iter().map(|(image, container, status)| {
                json!({"serviceId": 1, "imageName": image, "containerId": container, "status": status})
            }).collect();
            let report: Report = serde_json::from_value(
                json!({"apps": {"1": {"appId": 1, "services": services}}})
            ).unwrap();
            after = fold(&after, &report, at(now)).observation;
        }
        let judge = |known: &Observation| {
            judge(&facts(DeviceStatus::Scheduled, &wanted, Some(known), Some(now)), &rule(), at(now))
        };
        prop_assert_eq!(judge(&before), judge(&after));
    }

    #[test]
    fn a_device_with_checks_is_judged_in_time_and_no_data_is_no_pass(
        reports in any_reports(), end in 0..100_i64, found in any_checks()
    ) {
        let wanted = wanted();
        let rule = HealthRule { checks: checks_of(found.len()), ..rule() };
        let checks = server_checks(&found);
        let known = known(&reports);
        let mut now = reports.last().map_or(0, |said| said.0) + end;
        let (mut status, mut evidence) = (DeviceStatus::Scheduled, None);
        // What has begun late has its own time all the same.
        let bound = at(now.max(300) + 30 + 2 * 7 + 360);
        for turn in 0.. {
            prop_assert!(turn < 200);
            let told = Steps::read(evidence.as_ref());
            let facts = Facts {
                server_checks: &checks,
                steps: told,
                ..facts(status, &wanted, Some(&known), Some(now))
            };
            let judged = judge(&facts, &rule, at(now)).unwrap();
            let steps = Steps::read(Some(&judged.evidence));
            prop_assert_eq!(told.and(steps), steps, "a step that was told is never taken back");
            prop_assert_eq!(judged.evidence["checks"].as_array().map(Vec::len), Some(found.len()));
            status = judged.status;
            evidence = Some(judged.evidence);
            let Some(check) = judged.check_at else { break };
            prop_assert!(check > at(now) && check <= bound);
            now = (check - at(0)).num_seconds();
        }
        let all_passed = found.iter().all(|status| *status == CheckStatus::Passed);
        let any_failed = found.contains(&CheckStatus::Failed);
        match status {
            DeviceStatus::Completed => prop_assert!(all_passed),
            DeviceStatus::Inconclusive => prop_assert!(!all_passed && !any_failed),
            other => prop_assert_eq!(other, DeviceStatus::Failed),
        }
    }

    #[test]
    fn a_verdict_once_given_stays(
        reports in any_reports(),
        status in prop::sample::select(vec![
            DeviceStatus::Completed, DeviceStatus::Failed, DeviceStatus::Inconclusive,
            DeviceStatus::Skipped, DeviceStatus::RollingBack, DeviceStatus::RolledBack,
            DeviceStatus::RollbackFailed, DeviceStatus::Pending,
        ]),
        now in 0..5000_i64,
    ) {
        let (wanted, known) = (wanted(), known(&reports));
        let facts = facts(status, &wanted, Some(&known), Some(now));
        prop_assert_eq!(judge(&facts, &rule(), at(now)), None);
    }
}

fn any_checks() -> impl Strategy<Value = Vec<CheckStatus>> {
    let status = prop::sample::select(vec![
        CheckStatus::Pending,
        CheckStatus::Passed,
        CheckStatus::Passed,
        CheckStatus::Failed,
        CheckStatus::Inconclusive,
    ]);
    prop::collection::vec(status, 1..4)
}

fn checks_of(count: usize) -> Vec<Check> {
    let mut check = Check::new(CheckKind::Tcp);
    check.from = Some(CheckFrom::Server);
    vec![check; count]
}

fn server_checks(found: &[CheckStatus]) -> Vec<ServerCheck> {
    (0..)
        .zip(found)
        .map(|(position, status)| ServerCheck {
            position,
            status: *status,
            tries: 1,
            output: String::new(),
            checked_at: None,
            deadline_at: at(300),
        })
        .collect()
}
