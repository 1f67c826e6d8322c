use super::world::{device as bare, noon, placed, policy, runs};
use crate::why::{Answer, device};
use serde_json::json;
use windlass_types::ids::RolloutId;
use windlass_types::rollout::{CheckStatus, DeviceStatus, RolloutStatus};
use windlass_types::why::FailedDigest;
use windlass_types::why::facts::{DeviceCheck, DeviceStory, GoingBack, LabelUse};

/// Name, facts, then code and sentence of the reasons asked about.
type Case = (&'static str, DeviceStory, &'static str, &'static str);

fn with(mut story: DeviceStory, how: impl FnOnce(&mut DeviceStory)) -> DeviceStory {
    how(&mut story);
    story
}

fn row(status: DeviceStatus, how: impl FnOnce(&mut DeviceStory)) -> DeviceStory {
    with(placed(status), how)
}

fn named(change: &serde_json::Value) -> DeviceStory {
    with(bare(), |story| story.policies = vec![policy(change)])
}

fn skipped(reason: &str) -> DeviceStory {
    row(DeviceStatus::Skipped, |story| {
        story.places[0].row.reason = Some(reason.to_owned());
    })
}

fn phase(phase: &str) -> DeviceStory {
    row(DeviceStatus::Updating, |story| {
        runs(story, noon(-3), 0);
        let service = &mut story.observation.services[0];
        service.phase = Some(phase.to_owned());
        service.phase_since = Some(noon(-3));
    })
}

fn cases() -> Vec<Case> {
    let failed = |story: &mut DeviceStory| {
        story.places[0].row.evidence = Some(json!({"summary": "the container is gone."}));
        story.places[0].row.judged_at = Some(noon(-1));
    };
    vec![
        (
            "off",
            with(bare(), |s| s.device.enabled = false),
            "disabled",
            "The device is switched off: it may neither poll nor report, and rollouts leave it out.",
        ),
        (
            "never seen",
            with(bare(), |s| s.device.last_seen_at = None),
            "never_seen",
            "The device has not been seen since it was registered.",
        ),
        (
            "silent",
            with(bare(), |s| s.device.last_seen_at = Some(noon(-20))),
            "offline",
            "The device is silent; it was seen last at 2026-05-27 11:40 UTC.",
        ),
        (
            "seen",
            bare(),
            "seen",
            "The device was seen last at 2026-05-27 11:59 UTC.",
        ),
        (
            "set aside",
            with(bare(), |s| {
                s.penalty = Some(windlass_types::api::Penalty {
                    device_uuid: s.device.uuid,
                    reason: "5 good images failed on it".to_owned(),
                    evidence: json!({}),
                    since: noon(-5),
                    until: noon(60),
                });
            }),
            "set_aside",
            "The device failed again and again and is set aside until 2026-05-27 13:00 UTC: 5 good images failed on it.",
        ),
        (
            "set aside before",
            with(bare(), |s| {
                s.penalty = Some(windlass_types::api::Penalty {
                    device_uuid: s.device.uuid,
                    reason: "5 good images failed on it".to_owned(),
                    evidence: json!({}),
                    since: noon(-65),
                    until: noon(-60),
                });
            }),
            "was_set_aside",
            "The device failed again and again and was set aside until 2026-05-27 11:00 UTC, which is over: 5 good images failed on it.",
        ),
        (
            "no target",
            with(bare(), |s| s.target = None),
            "no_target",
            "The device is to run nothing: nobody has given it a target yet.",
        ),
        (
            "set by hand",
            bare(),
            "target_by_person",
            "What the device is to run (r.io/demo/app:v1) was set by a person; it is version 2 of its target.",
        ),
        (
            "no policies",
            bare(),
            "no_policies",
            "There is no policy, so that no push leads to a rollout.",
        ),
        (
            "nothing pushed",
            named(&json!({})),
            "nothing_pushed",
            "The policy \"shops\" takes the device, and no newer image has come for it.",
        ),
        (
            "policy off",
            named(&json!({"enabled": false})),
            "policy_disabled",
            "The policy \"shops\" takes the device, but is switched off.",
        ),
        (
            "another image",
            named(&json!({"image": "r.io/lab/*"})),
            "policy_other_image",
            "No policy takes r.io/demo/app, which the device runs; the nearest, \"shops\", takes r.io/lab/*.",
        ),
        (
            "another tag",
            named(&json!({"tag": {"type": "glob", "pattern": "w*"}})),
            "policy_other_tag",
            "The policy \"shops\" takes what the device runs, but not the tag \"v1\" that it is on.",
        ),
        (
            "another fleet",
            named(&json!({"filters": {"fleets": ["shop"]}})),
            "policy_other_fleet",
            "The policy \"shops\" takes what the device runs, but is for the fleet shop, and the device is in lab.",
        ),
        (
            "another device tag",
            named(&json!({"filters": {"tags": {"ring": "stable"}}})),
            "policy_other_device_tag",
            "The policy \"shops\" takes what the device runs, but is for devices with ring=stable, and the device has ring=beta.",
        ),
        (
            "other devices",
            named(&json!({"filters": {"uuids": ["00000000-0000-0000-0000-000000000001"]}})),
            "policy_other_device",
            "The policy \"shops\" takes what the device runs, but names its devices, and this is none of them.",
        ),
        (
            "its turn",
            placed(DeviceStatus::Pending),
            "turn",
            "The device waits in batch 2 of 3 of the rollout of r.io/demo/app:v2.",
        ),
        (
            "the batch before",
            placed(DeviceStatus::Pending),
            "devices_on_their_way",
            "10 of 10 devices of batch 1 of 3 are not done; the last is judged by 2026-05-27 12:05 UTC.",
        ),
        (
            "its own window",
            row(DeviceStatus::Pending, |s| {
                s.device.time_zone = Some("Asia/Tokyo".to_owned());
                let rule = &mut s.places[0].rollout.view.rollout.rule;
                rule.maintenance_windows =
                    serde_json::from_value(json!([{"start": "02:00", "end": "04:00"}])).unwrap();
            }),
            "window_closed_here",
            "In the device's time zone, Asia/Tokyo, the maintenance window is closed; it opens at 2026-05-27 17:00 UTC.",
        ),
        (
            "a tag that is used up",
            row(DeviceStatus::Pending, |s| {
                s.places[0].labels = vec![LabelUse {
                    key: "rack".to_owned(),
                    value: "7".to_owned(),
                    limit: 1,
                    unavailable: 1,
                    stuck: 0,
                    holders: vec!["pump-1".to_owned()],
                }];
            }),
            "label_limit_here",
            "1 device is unavailable where rack is 7, and the policy allows 1 at once: pump-1.",
        ),
        (
            "another try",
            row(DeviceStatus::Pending, |s| {
                let row = &mut s.places[0].row;
                row.retries = 1;
                row.retry_at = Some(noon(2));
                row.evidence = Some(json!({"summary": "the registry answered 503"}));
            }),
            "retry_here",
            "r.io/demo/app:v2 could not be put on the device for a reason that is not the image's: the registry answered 503; try 1 of 3 is at 2026-05-27 12:02 UTC.",
        ),
        (
            "admitted",
            placed(DeviceStatus::Scheduled),
            "not_polled",
            "The device is to run r.io/demo/app:v2 and has not asked for its target yet; it must be healthy by 2026-05-27 12:05 UTC.",
        ),
        (
            "updating",
            placed(DeviceStatus::Updating),
            "updating",
            "The device has its target and works on r.io/demo/app:v2; it must be healthy by 2026-05-27 12:05 UTC.",
        ),
        (
            "pulling",
            phase("pulling"),
            "pulling",
            "The device pulls r.io/demo/app:v2; it must be healthy by 2026-05-27 12:05 UTC.",
        ),
        (
            "pulled",
            phase("pulled"),
            "pulled",
            "The device has pulled r.io/demo/app:v2 and starts it; it must be healthy by 2026-05-27 12:05 UTC.",
        ),
        (
            "verifying",
            row(DeviceStatus::Verifying, |s| runs(s, noon(0), 0)),
            "verifying",
            "The device runs r.io/demo/app:v2, which must stay up until 2026-05-27 12:00:30 UTC.",
        ),
        (
            "restarted",
            row(DeviceStatus::Verifying, |s| runs(s, noon(0), 2)),
            "restarting",
            "The device runs r.io/demo/app:v2, which was restarted 2 times and must now stay up until 2026-05-27 12:00:30 UTC.",
        ),
        (
            "a check",
            row(DeviceStatus::Verifying, |s| {
                runs(s, noon(0), 0);
                let place = &mut s.places[0];
                place.rollout.view.rollout.rule.health.checks = serde_json::from_value(json!([
                    {"type": "http", "name": "front page", "url": "http://x", "from": "server"}]))
                .unwrap();
                place.checks = vec![DeviceCheck {
                    position: 0,
                    status: CheckStatus::Pending,
                    tries: 1,
                    output: "status 502".to_owned(),
                    checked_at: Some(noon(-1)),
                    deadline_at: noon(5),
                }];
            }),
            "check_pending",
            "The check \"front page\" must pass by 2026-05-27 12:05 UTC; it was tried once and said last: status 502.",
        ),
        (
            "healthy",
            placed(DeviceStatus::Completed),
            "device_completed",
            "The device is healthy on r.io/demo/app:v2.",
        ),
        (
            "failed",
            row(DeviceStatus::Failed, failed),
            "device_failed",
            "r.io/demo/app:v2 failed on the device: the container is gone.",
        ),
        (
            "failed for another reason",
            row(DeviceStatus::Failed, |s| {
                failed(s);
                s.places[0].environment = true;
                s.places[0].row.retries = 1;
            }),
            "failed_environment",
            "r.io/demo/app:v2 could not be put on the device for a reason that is not the image's, after 1 more try: the container is gone.",
        ),
        (
            "may not go back yet",
            row(DeviceStatus::Failed, |s| {
                failed(s);
                s.places[0]
                    .rollout
                    .view
                    .rollout
                    .rule
                    .failure
                    .rollback_max_in_flight = 1;
                s.places[0].rollout.back = GoingBack {
                    on_their_way: 1,
                    waiting: 3,
                };
                s.places[0].back_before = Some(2);
            }),
            "rollback_waits",
            "The device is to go back to what it ran before, but 1 device is on its way back, and the policy allows 1 at once; 2 devices are before it.",
        ),
        (
            "silent in the rollout",
            placed(DeviceStatus::Unreachable),
            "unreachable",
            "The device has been silent since it was to take r.io/demo/app:v2; it gets it when it is back.",
        ),
        (
            "silent after it",
            row(DeviceStatus::Unreachable, |s| {
                s.places[0].row.reason = Some("silent_after_update".to_owned());
            }),
            "silent_after_update",
            "The device went silent after it took up r.io/demo/app:v2.",
        ),
        (
            "not known",
            row(DeviceStatus::Inconclusive, failed),
            "inconclusive",
            "The device runs r.io/demo/app:v2, but whether it is healthy could not be found out in time: the container is gone.",
        ),
        (
            "going back",
            row(DeviceStatus::RollingBack, |s| {
                s.places[0].row.rollback_image = Some("r.io/demo/app:v1".to_owned());
            }),
            "rolling_back",
            "The device goes back from r.io/demo/app:v2 to r.io/demo/app:v1; it must be there by 2026-05-27 12:05 UTC.",
        ),
        (
            "back",
            row(DeviceStatus::RolledBack, |s| {
                s.places[0].row.rollback_image = Some("r.io/demo/app:v1".to_owned());
                s.places[0].row.reason = Some("crash_loop".to_owned());
            }),
            "rolled_back",
            "The device went back from r.io/demo/app:v2 to r.io/demo/app:v1: crash loop.",
        ),
        (
            "not back",
            placed(DeviceStatus::RollbackFailed),
            "rollback_failed",
            "The device did not get back from r.io/demo/app:v2 to its last good image.",
        ),
        (
            "off in the rollout",
            skipped("disabled"),
            "skipped_disabled",
            "The rollout of r.io/demo/app:v2 left the device out because it was switched off.",
        ),
        (
            "failed before",
            skipped("failed_here_before"),
            "failed_here_before",
            "The rollout of r.io/demo/app:v2 left the device out because this very image failed on it before.",
        ),
        (
            "there already",
            skipped("already_on_image"),
            "already_there",
            "The rollout of r.io/demo/app:v2 left the device out because it is to run this very image already.",
        ),
        (
            "too late",
            skipped("rollout_ended"),
            "rollout_ended",
            "The rollout of r.io/demo/app:v2 left the device out because the rollout ended before its turn.",
        ),
        (
            "not in scope",
            skipped("out_of_scope"),
            "out_of_scope",
            "The rollout of r.io/demo/app:v2 left the device out because it is no longer among the devices that the rollout is for.",
        ),
        (
            "older",
            skipped("downgrade"),
            "downgrade",
            "The rollout of r.io/demo/app:v2 left the device out because it is to run a newer version, and the policy does not allow older ones.",
        ),
        (
            "in the box",
            skipped("penalty_box"),
            "skipped_set_aside",
            "The rollout of r.io/demo/app:v2 left the device out because it failed again and again and was set aside for a time.",
        ),
        (
            "another rollout has it",
            with(skipped("higher_priority"), |s| {
                s.places[0].other = Some("r.io/demo/app:v3".to_owned());
            }),
            "higher_priority",
            "The rollout of r.io/demo/app:v2 left the device out because the rollout of r.io/demo/app:v3, which has a higher priority, has it.",
        ),
        (
            "its class",
            skipped("quarantined"),
            "quarantined_class",
            "The rollout of r.io/demo/app:v2 left the device out because the image is in quarantine for devices like this one.",
        ),
        (
            "something new",
            skipped("full_moon"),
            "skipped_other",
            "The rollout of r.io/demo/app:v2 left the device out because of \"full moon\".",
        ),
        (
            "a digest that failed",
            with(bare(), |s| {
                s.failed = vec![FailedDigest {
                    digest: format!("sha256:{}", "b".repeat(64)).parse().unwrap(),
                    rollout_id: RolloutId(uuid::Uuid::from_u128(8)),
                    failed_at: noon(-70),
                    quarantined: true,
                }];
            }),
            "digest_failed_here",
            "sha256:bbbbbbbbbbbb failed on the device and is not shipped to it again, and it is in quarantine for every device.",
        ),
    ]
}

#[test]
fn a_device_says_why_it_stands_where_it_stands() {
    for (name, story, code, sentence) in cases() {
        let answer = Answer::of(&device(&story, noon(0)));
        let found = answer.reasons.iter().find(|one| one.code.as_str() == code);
        let found = found.unwrap_or_else(|| panic!("{name}: {:?}", answer.reasons));
        assert_eq!(found.sentence, sentence, "{name}");
    }
}

#[test]
fn what_decides_comes_first_and_what_is_waited_for_is_the_first_that_waits() {
    let mut story = placed(DeviceStatus::Pending);
    story.device.enabled = false;
    let codes = |story: &DeviceStory| -> Vec<String> {
        let answer = Answer::of(&device(story, noon(0)));
        answer
            .reasons
            .iter()
            .map(|one| one.code.to_string())
            .collect()
    };
    assert_eq!(
        codes(&story),
        [
            "disabled",
            "turn",
            "devices_on_their_way",
            "seen",
            "target_by_person"
        ]
    );
    story.device.enabled = true;
    let answer = Answer::of(&device(&story, noon(0)));
    let waits = answer.waiting_for.unwrap();
    assert_eq!(waits.code.as_str(), "devices_on_their_way");
    assert_eq!(waits.changes_at, Some(noon(5)));

    // A place in a rollout that has ended is told only where none is open.
    story.places[0].rollout = super::world::story(RolloutStatus::Completed, 3);
    assert_eq!(codes(&story)[0], "turn");
    assert!(codes(&story).contains(&"no_policies".to_owned()));
}

#[test]
fn room_that_nobody_makes_by_themselves_is_a_persons_to_make() {
    let needs = |limit: i64, unavailable: i64, stuck: i64| {
        let story = row(DeviceStatus::Pending, |s| {
            s.places[0].labels = vec![LabelUse {
                key: "rack".to_owned(),
                value: "7".to_owned(),
                limit,
                unavailable,
                stuck,
                holders: Vec::new(),
            }];
        });
        let answer = Answer::of(&device(&story, noon(0)));
        let found = answer
            .reasons
            .iter()
            .find(|one| one.code.as_str() == "label_limit_here");
        found.unwrap().needs.is_some()
    };
    assert!(needs(1, 1, 1), "the neighbour is silent");
    assert!(!needs(1, 1, 0), "the neighbour is being updated");
    assert!(!needs(2, 3, 1), "two are being updated");
    assert!(needs(2, 3, 2), "one is being updated, and room is for two");
}
