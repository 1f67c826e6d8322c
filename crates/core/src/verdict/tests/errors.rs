//! Errors that say nothing of the image, and trying again.

use super::*;
use windlass_types::policy::RetryRule;

fn failing(mut known: Observation, kind: &str, since: i64) -> Observation {
    for service in &mut known.services {
        service.phase = Some("failed".to_owned());
        service.phase_since = Some(at(since));
        service.error =
            Some(serde_json::from_value(json!({"type": kind, "message": "no"})).unwrap());
    }
    known
}

#[test]
fn what_keeps_the_image_from_a_device_is_told_apart() {
    let old = known(&[(10, 2, Some(("r:5000/demo/app:v1", "a", "running")))]);
    let cases = [
        ("registry", Reason::RegistryError, true),
        ("auth", Reason::AuthError, true),
        ("network", Reason::NetworkError, true),
        ("disk", Reason::DiskError, true),
        ("pull", Reason::PullError, true),
        ("start", Reason::UpdateError, false),
        ("health", Reason::UpdateError, false),
        ("a word of next year", Reason::UpdateError, false),
    ];
    let wanted = wanted();
    for (kind, reason, environment) in cases {
        let known = failing(old.clone(), kind, 11);
        let facts = facts(DeviceStatus::Updating, &wanted, Some(&known), Some(12));
        let judged = judge(&facts, &rule(), at(12)).unwrap();
        assert_eq!(
            (judged.status, judged.reason),
            (DeviceStatus::Failed, Some(reason)),
            "{kind}"
        );
        assert_eq!(reason.is_environment(), environment, "{kind}");
    }
}

#[test]
fn an_image_that_crashes_is_not_excused_by_a_full_disk_elsewhere() {
    let mut two = wanted();
    two.push(Wanted {
        service_id: 2,
        ..two[0].clone()
    });
    let loops: Vec<Said<'_>> = [(10, "a"), (20, "b"), (30, "c"), (40, "d")]
        .iter()
        .map(|(now, container)| (*now, 2, Some((IMAGE, *container, "running"))))
        .collect();
    let mut known = known(&loops);
    let mut other = failing(known.clone(), "disk", 41).services[0].clone();
    other.service_id = 2;
    known.services.push(other);
    let facts = facts(DeviceStatus::Updating, &two, Some(&known), Some(42));
    let judged = judge(&facts, &rule(), at(42)).unwrap();
    assert_eq!(judged.reason, Some(Reason::CrashLoop));
}

#[test]
fn a_service_that_is_well_or_stopped_does_not_make_a_full_disk_the_images_fault() {
    let seen = known(&[(10, 2, Some(("r:5000/demo/app:v1", "a", "running")))]);
    let mut stale = failing(seen.clone(), "disk", -5);
    let mut late = known(&[(302, 2, Some((IMAGE, "b", "running")))])
        .services
        .remove(0);
    late.service_id = 2;
    stale.services.push(late);
    let first = wanted().remove(0);
    for (name, runs) in [("well, too late", true), ("to be stopped", false)] {
        let two = [
            first.clone(),
            Wanted {
                service_id: 2,
                runs,
                ..first.clone()
            },
        ];
        let reason = |known: &Observation| {
            let facts = facts(DeviceStatus::Updating, &two, Some(known), Some(310));
            judge(&facts, &rule(), at(310)).unwrap().reason
        };
        assert_eq!(reason(&stale), Some(Reason::DiskError), "{name}");
        let mut wrong = seen.clone();
        wrong.services.push(stale.services[1].clone());
        assert_eq!(reason(&wrong), Some(Reason::WrongImage), "{name}");
    }
}

#[test]
fn an_error_of_the_try_before_explains_a_deadline_and_nothing_sooner() {
    let wanted = wanted();
    let old = known(&[(10, 2, Some(("r:5000/demo/app:v1", "a", "running")))]);
    let stale = failing(old.clone(), "registry", -5);
    let judged = |known: &Observation, now| {
        let facts = facts(DeviceStatus::Updating, &wanted, Some(known), Some(now));
        let judged = judge(&facts, &rule(), at(now)).unwrap();
        (judged.status, judged.reason)
    };
    assert_eq!(judged(&stale, 12), (DeviceStatus::Updating, None));
    assert_eq!(
        judged(&stale, 301),
        (DeviceStatus::Failed, Some(Reason::RegistryError))
    );
    assert_eq!(
        judged(&failing(old, "start", -5), 301),
        (DeviceStatus::Failed, Some(Reason::WrongImage))
    );
}

#[test]
fn retries_wait_twice_as_long_each_time_and_end() {
    let rule = RetryRule::default();
    let wait = |rule: &RetryRule, retries| {
        verdict_again(rule, retries).map(|at_| (at_ - at(0)).num_seconds())
    };
    let waits: Vec<_> = (0..5).map(|retries| wait(&rule, retries)).collect();
    assert_eq!(waits, [Some(60), Some(120), Some(240), None, None]);
    let patient = RetryRule {
        budget: 100,
        backoff_seconds: 60,
    };
    assert_eq!(wait(&patient, 6), Some(3600), "an hour at most");
    assert_eq!(wait(&patient, 99), Some(3600));
    let none = RetryRule { budget: 0, ..rule };
    assert_eq!(wait(&none, 0), None);
}

fn verdict_again(rule: &RetryRule, retries: i64) -> Option<DateTime<Utc>> {
    again(rule, retries, at(0))
}

#[test]
fn a_device_that_is_tried_again_tells_its_steps_again() {
    let wanted = wanted();
    let known = failing(
        known(&[(10, 2, Some(("r:5000/demo/app:v1", "a", "running")))]),
        "disk",
        11,
    );
    let facts = facts(DeviceStatus::Updating, &wanted, Some(&known), Some(12));
    let judged = judge(&facts, &rule(), at(12)).unwrap();
    assert!(Steps::read(Some(&judged.evidence)).updating);
    let later = put_off(judged.evidence, 1, at(72));
    assert_eq!(Steps::read(Some(&later)), Steps::default());
    assert_eq!(Presence::read(Some(&later)), Presence::default());
    assert_eq!(later["retry_at"], json!(at(72)));
    assert_eq!(later["summary"], "the device has no room for the image");
}
