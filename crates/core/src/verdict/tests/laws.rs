//! What holds whatever devices report.

use super::*;
use proptest::prelude::*;

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
}
