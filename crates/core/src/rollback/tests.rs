//! Where devices go back to, and when they are back.

use super::*;
use serde_json::json;
use windlass_types::observation::ServiceObservation;

fn digest(letter: &str) -> Digest {
    format!("sha256:{}", letter.repeat(64)).parse().unwrap()
}

fn image(tag: &str, letter: &str) -> String {
    format!("r:5000/demo/app:{tag}@{}", digest(letter))
}

fn state(images: &[&str]) -> TargetState {
    let services: Vec<_> = images
        .iter()
        .zip(1..)
        .map(|(image, id)| {
            json!({"serviceId": id, "serviceName": "s", "imageName": image, "config": {"k": id}})
        })
        .collect();
    serde_json::from_value(json!({"apps": {"1": {"appId": 1, "appName": "demo",
        "services": services}}, "config": {"c": 1}}))
    .unwrap()
}

fn wanted(id: i64, image: &str) -> Wanted {
    Wanted {
        app_id: 1,
        service_id: id,
        image: image.to_owned(),
        runs: true,
    }
}

fn way(
    last_good: Option<&str>,
    before: Option<&str>,
    banned: &[Digest],
) -> (Option<String>, usize) {
    let bad = image("v2", "b");
    let last_good = last_good
        .map(|image| ((1, 1), vec![image.to_owned()]))
        .into_iter()
        .collect();
    let before = before.map(|image| state(&[image]));
    let past = Past {
        last_good,
        before: before.as_ref(),
        ..Past::default()
    };
    let banned = banned.iter().cloned().collect();
    let plan = plan(&state(&[&bad]), &[wanted(1, &bad)], &past, &banned);
    (plan.moves.first().map(|m| m.to.clone()), plan.stuck)
}

#[test]
fn a_device_goes_to_its_own_last_good_image_or_the_one_before_or_nowhere() {
    let (one, zero, bad) = (image("v1", "a"), image("v0", "c"), image("v2", "b"));
    let other_name = format!("r:5000/demo/app@{}", digest("b"));
    type Case<'a> = (
        &'a str,
        Option<&'a str>,
        Option<&'a str>,
        &'a [Digest],
        Option<&'a str>,
    );
    let cases: &[Case<'_>] = &[
        ("its last good", Some(&one), Some(&zero), &[], Some(&one)),
        (
            "nothing proved: the one before",
            None,
            Some(&zero),
            &[],
            Some(&zero),
        ),
        (
            "the last good is the bad one itself",
            Some(&bad),
            Some(&zero),
            &[],
            Some(&zero),
        ),
        (
            "the same under another name",
            Some(&other_name),
            Some(&zero),
            &[],
            Some(&zero),
        ),
        (
            "the last good is banned",
            Some(&one),
            Some(&zero),
            &[digest("a")],
            Some(&zero),
        ),
        (
            "both are banned",
            Some(&one),
            Some(&zero),
            &[digest("a"), digest("c")],
            None,
        ),
        ("nothing is known", None, None, &[], None),
        ("before was the bad one", None, Some(&bad), &[], None),
        (
            "a tag without a digest",
            None,
            Some("r:5000/demo/app:v0"),
            &[],
            Some("r:5000/demo/app:v0"),
        ),
    ];
    for (name, last_good, before, banned, expected) in cases {
        let (to, stuck) = way(*last_good, *before, banned);
        assert_eq!(to.as_deref(), *expected, "{name}");
        assert_eq!(stuck, usize::from(expected.is_none()), "{name}");
    }
}

#[test]
fn a_device_that_leaves_its_last_good_image_goes_to_the_good_one_before_and_not_to_one_unproved() {
    let (two, three, four) = (image("v2", "a"), image("v3", "c"), image("v4", "b"));
    let before = state(&[&three]);
    let way = |good: &[&String], banned: &[Digest]| {
        let past = Past {
            last_good: [((1, 1), good.iter().map(|one| (*one).clone()).collect())].into(),
            before: Some(&before),
            ..Past::default()
        };
        let banned = banned.iter().cloned().collect();
        let plan = plan(&state(&[&four]), &[wanted(1, &four)], &past, &banned);
        plan.moves.first().map(|one| one.to.clone())
    };
    let elsewhere = format!("r:5000/demo/other:v9@{}", digest("d"));
    assert_eq!(way(&[&four, &two], &[]).as_ref(), Some(&two));
    assert_eq!(way(&[&two], &[]).as_ref(), Some(&two));
    assert_eq!(way(&[&elsewhere, &four, &two], &[]).as_ref(), Some(&two));
    assert_eq!(way(&[&four, &two], &[digest("a")]).as_ref(), Some(&three));
    assert_eq!(way(&[&four], &[]).as_ref(), Some(&three));
}

#[test]
fn only_the_services_on_the_bad_image_move() {
    let (bad, one) = (image("v2", "b"), image("v1", "a"));
    let present = state(&[&bad, "nginx:1", &bad]);
    let last_good = [((1, 1), vec![one.clone()])].into();
    let leaving = [wanted(1, &bad), wanted(3, &bad)];
    let past = Past {
        last_good,
        ..Past::default()
    };
    let plan = plan(&present, &leaving, &past, &BTreeSet::new());
    let images: Vec<_> = plan
        .next
        .services()
        .map(|(_, s)| s.image_name.clone())
        .collect();
    assert_eq!(images, [one.as_str(), "nginx:1", bad.as_str()]);
    assert_eq!((plan.moves.len(), plan.stuck), (1, 1));
    assert_eq!(plan.next.config, present.config);
}

/// A device on `app:latest` was given a pushed version of that tag by its digest.
fn off_latest(tag_was: Option<&str>, seen: serde_json::Value) -> Option<String> {
    let (bad, bare) = (image("latest", "b"), "r:5000/demo/app:latest");
    let before = state(&[bare]);
    let mut past = Past {
        before: Some(&before),
        tag_was: tag_was.map(digest),
        ..Past::default()
    };
    let observation = Observation {
        services: vec![serde_json::from_value(seen).unwrap()],
        ..Observation::default()
    };
    let leaving = [wanted(1, &bad)];
    past.observe(&leaving, &observation, &BTreeSet::new());
    let banned = [digest("b"), digest("d")].into();
    let plan = plan(&state(&[&bad]), &leaving, &past, &banned);
    plan.moves.first().map(|m| m.to.clone())
}

#[test]
fn nobody_goes_back_to_a_tag_that_names_the_bad_image_by_now() {
    let bare = "r:5000/demo/app:latest";
    let seen = |image: &str, digest: Option<Digest>| {
        json!({"app_id": 1, "service_id": 1, "image": image, "digest": digest,
            "status": "running"})
    };
    let bad = seen(&image("latest", "b"), Some(digest("b")));
    let was = |letter: &str| Some(image("latest", letter));
    let cases = [
        ("nothing is known", None, bad.clone(), None),
        (
            "the tag was another digest",
            Some("a"),
            bad.clone(),
            was("a"),
        ),
        ("the tag was a banned digest", Some("d"), bad, None),
        (
            "the device still runs it",
            Some("a"),
            seen(bare, Some(digest("c"))),
            was("c"),
        ),
        (
            "it runs it and does not say what",
            None,
            seen(bare, None),
            None,
        ),
    ];
    for (name, tag_was, seen, expected) in cases {
        assert_eq!(off_latest(tag_was, seen), expected, "{name}");
    }
}

#[test]
fn what_somebody_chose_since_comes_before_what_was_proved() {
    let (bad, one, nine) = (image("v2", "b"), image("v1", "a"), image("v9", "c"));
    let elsewhere = format!("r:5000/other/app:v1@{}", digest("a"));
    let none = BTreeSet::new();
    let unproved: BTreeSet<String> = [nine.clone()].into();
    let cases = [
        ("it ran there", &one, Some(&nine), &none, &nine),
        ("it was never seen there", &one, None, &none, &one),
        (
            "a rollout left it there, unproved",
            &one,
            Some(&nine),
            &unproved,
            &one,
        ),
        (
            "another repository's image was proved",
            &elsewhere,
            None,
            &none,
            &nine,
        ),
    ];
    for (name, proved, ran, unproved, expected) in cases {
        let before = state(&[&nine]);
        let mut past = Past {
            last_good: [((1, 1), vec![proved.clone()])].into(),
            before: Some(&before),
            ..Past::default()
        };
        let observation = Observation {
            services: vec![
                serde_json::from_value(json!({"app_id": 1, "service_id": 1,
                "image": bad, "previous_image": ran, "status": "running"}))
                .unwrap(),
            ],
            ..Observation::default()
        };
        let leaving = [wanted(1, &bad)];
        past.observe(&leaving, &observation, unproved);
        let plan = plan(&state(&[&bad]), &leaving, &past, &[digest("b")].into());
        assert_eq!(&plan.moves[0].to, expected, "{name}");
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(seconds)
}

fn observed(version: i64, image: &str, status: &str, reported: i64) -> Observation {
    let service: ServiceObservation = serde_json::from_value(json!({"app_id": 1, "service_id": 1,
        "image": image, "status": status}))
    .unwrap();
    Observation {
        services: vec![service],
        version_received: Some(version),
        last_report_at: Some(at(reported)),
        ..Observation::default()
    }
}

#[test]
fn a_device_is_back_when_it_says_so_and_late_only_while_it_is_there() {
    let (one, bad) = (image("v1", "a"), image("v2", "b"));
    let wait = |check, deadline, silent| Outcome::Wait {
        check_at: at(check),
        deadline_at: at(deadline),
        silent,
    };
    // Put back at 0 by version 3; 600 s to be back, silent after 180 s.
    let cases = [
        (
            "back",
            observed(3, &one, "running", 20),
            20,
            20,
            Outcome::RolledBack,
        ),
        (
            "back late",
            observed(3, &one, "running", 900),
            900,
            900,
            Outcome::RolledBack,
        ),
        (
            "received, the bad image runs",
            observed(3, &bad, "running", 20),
            20,
            20,
            wait(200, 600, false),
        ),
        (
            "not running yet",
            observed(3, &one, "created", 20),
            20,
            20,
            wait(200, 600, false),
        ),
        (
            "a report of before",
            observed(2, &one, "running", 20),
            20,
            20,
            wait(200, 600, false),
        ),
        (
            "silent",
            observed(2, &bad, "running", -9),
            -9,
            180,
            wait(360, 960, true),
        ),
        (
            "silent for a day",
            observed(2, &bad, "running", -9),
            -9,
            86_400,
            wait(86_580, 87_180, true),
        ),
        (
            "there all the time, too late",
            observed(3, &bad, "running", 20),
            605,
            610,
            Outcome::TimedOut,
        ),
        (
            "late, not seen since the deadline",
            observed(3, &bad, "running", 20),
            590,
            610,
            wait(615, 600, false),
        ),
    ];
    for (name, observation, seen, now, expected) in cases {
        let wanted = [wanted(1, &one)];
        let facts = Facts {
            since: at(0),
            deadline_at: at(600),
            version: 3,
            wanted: &wanted,
            observation: Some(&observation),
            last_seen_at: Some(at(seen)),
        };
        assert_eq!(
            judge(&facts, &RolloutRule::default(), at(now)),
            expected,
            "{name}"
        );
    }
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nobody_goes_back_to_a_banned_digest_or_stays_by_accident(
            good in prop::option::of(0..4_usize), before in prop::option::of(0..4_usize),
            banned in prop::collection::vec(0..4_usize, 0..4)
        ) {
            let letters = ["a", "b", "c", "d"];
            let image = |at: usize| image("v", letters[at]);
            let banned: Vec<Digest> = banned.iter().map(|at| digest(letters[*at])).collect();
            let (to, stuck) = way(
                good.map(image).as_deref(), before.map(image).as_deref(), &banned
            );
            prop_assert_eq!(to.is_none(), stuck == 1);
            if let Some(to) = to {
                let to: ImageReference = to.parse().unwrap();
                let digest_there = to.digest().unwrap();
                prop_assert!(!banned.contains(digest_there));
                prop_assert!(*digest_there != digest("b"), "the failed digest");
            }
        }
    }
}
