use super::world::{noon, policy, story as rollout};
use crate::why::{Answer, image};
use serde_json::{Value, json};
use windlass_types::api::ImageVersion;
use windlass_types::delivery::{Decision, ReasonCode};
use windlass_types::rollout::RolloutStatus;
use windlass_types::why::facts::{DeliveryFacts, ImageStory, Quarantine, Resolving};

type Case = (&'static str, ImageStory, &'static str, &'static str);

fn unseen() -> ImageStory {
    ImageStory {
        repository: "r.io/demo/app".parse().unwrap(),
        tag: Some("v2".to_owned()),
        digest: None,
        version: None,
        resolving: None,
        replaced_by: None,
        delivery: None,
        seen: vec!["r.io/lab/x".to_owned(), "r.io/demo/apps".to_owned()],
        quarantine: Vec::new(),
        rollouts: Vec::new(),
        policies: Vec::new(),
    }
}

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

fn version(digest: Option<&str>) -> ImageVersion {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    serde_json::from_value(json!({
        "id": id, "repository": "r.io/demo/app", "tag": "v2", "digest": digest, "actor": null,
        "pushed_at": null, "seen_at": noon(-10), "delivery_id": null, "correlation_id": id,
        "replaced_at": null, "resolve_error": null, "decision": null, "detail": null,
        "policy_id": null, "rollout_id": null, "decided_at": null,
    }))
    .unwrap()
}

fn pushed(how: impl FnOnce(&mut ImageStory)) -> ImageStory {
    let mut story = unseen();
    story.version = Some(version(Some(&digest())));
    how(&mut story);
    story
}

fn decided(decision: &str, detail: Option<&str>, policies: &[Value]) -> ImageStory {
    pushed(|story| {
        let version = story.version.as_mut().unwrap();
        version.decision = Some(decision.parse().unwrap());
        version.plans = vec![
            serde_json::from_value(json!({
                "position": 0, "decision": decision, "detail": detail, "decided_at": noon(-9),
                "policy_id": "00000000-0000-0000-0000-000000000003", "rollout_id": null,
            }))
            .unwrap(),
        ];
        story.policies = policies.iter().map(policy).collect();
    })
}

fn waiting(reason: &str, detail: &str, until: Option<i64>) -> ImageStory {
    pushed(|story| {
        let id = "00000000-0000-0000-0000-000000000003";
        let wait = json!({"policy_id": id, "reason": reason, "detail": detail, "since": noon(-9),
                          "until": until.map(noon)});
        story.version.as_mut().unwrap().waits = vec![serde_json::from_value(wait).unwrap()];
    })
}

fn quarantine(class: Option<(&str, &str)>) -> ImageStory {
    pushed(|story| {
        story.quarantine = vec![Quarantine {
            of: serde_json::from_value(json!({
                "digest": digest(), "repository": "r.io/demo/app",
                "tag_key": class.map(|one| one.0), "tag_value": class.map(|one| one.1),
                "rollout_id": null, "reason": "3 of 10 devices failed", "evidence": {},
                "created_at": noon(-5),
            }))
            .unwrap(),
            rollout: Some("r.io/demo/app:v2".to_owned()),
        }];
    })
}

fn delivery(decision: Decision, times: i64) -> Option<DeliveryFacts> {
    Some(DeliveryFacts {
        received_at: noon(-10),
        received_count: times,
        sender: "docker_hub".to_owned(),
        decision,
        reason: (decision == Decision::Ignored).then_some(ReasonCode::Untagged),
    })
}

fn cases() -> Vec<Case> {
    let mut ignored = unseen();
    ignored.delivery = delivery(Decision::Ignored, 1);
    vec![
        (
            "never pushed",
            unseen(),
            "never_pushed",
            "No delivery has told of r.io/demo/app:v2; the nearest that was seen is r.io/demo/apps.",
        ),
        (
            "ignored",
            ignored,
            "delivery_ignored",
            "The last delivery about it, from Docker Hub, was no push of an image: a manifest without a tag.",
        ),
        (
            "told twice",
            pushed(|s| s.delivery = delivery(Decision::Accepted, 2)),
            "delivery_duplicate",
            "The push was told of 2 times, and counts once.",
        ),
        (
            "no digest yet",
            pushed(|s| {
                let mut version = version(None);
                version.resolve_error = Some("the registry answered 401".to_owned());
                s.version = Some(version);
                s.resolving = Some(Resolving {
                    tries: 2,
                    next_at: Some(noon(1)),
                });
            }),
            "digest_unknown",
            "The registry has not said which digest r.io/demo/app:v2 names after 2 tries: the registry answered 401; it is asked again at 2026-05-27 12:01 UTC.",
        ),
        (
            "just seen",
            pushed(|_| {}),
            "not_planned",
            "The push was seen; the planner decides about it in a moment.",
        ),
        (
            "replaced",
            pushed(|s| {
                s.version.as_mut().unwrap().replaced_at = Some(noon(-2));
                s.replaced_by = Some(format!("r.io/demo/app@{}", digest()));
            }),
            "replaced",
            "A newer version of the tag has come: r.io/demo/app@sha256:aaaaaaaaaaaa.",
        ),
        (
            "in quarantine",
            quarantine(None),
            "image_quarantined",
            "It is in quarantine since the rollout of r.io/demo/app:v2: 3 of 10 devices failed.",
        ),
        (
            "in quarantine for some",
            quarantine(Some(("model", "mk1"))),
            "image_quarantined_for_class",
            "It is in quarantine for devices with model=mk1: 3 of 10 devices failed.",
        ),
        (
            "was in quarantine",
            decided("quarantined", Some("it failed"), &[]),
            "image_quarantined",
            "It was in quarantine when it was pushed, so that nothing was shipped: it failed.",
        ),
        (
            "too young",
            waiting(
                "too_young",
                "the policy ships what has been known for 3600 s",
                Some(5),
            ),
            "too_young",
            "It is too new for the policy: the policy ships what has been known for 3600 s; it is old enough at 2026-05-27 12:05 UTC.",
        ),
        (
            "held without an end",
            waiting(
                "held",
                "r.io/demo/app is held by operator:ann: inventory",
                None,
            ),
            "held",
            "Nothing new ships by the policy: r.io/demo/app is held by operator:ann: inventory.",
        ),
        (
            "not signed",
            waiting("unsigned", "it has no signature", Some(90)),
            "unsigned",
            "The policy wants it signed: it has no signature; it is looked for until 2026-05-27 13:30 UTC.",
        ),
        (
            "signed with another key",
            waiting(
                "wrong_signature",
                "it has one signature, none by a key of the policy",
                None,
            ),
            "wrong_signature",
            "Its signature is not what the policy wants: it has one signature, none by a key of the policy.",
        ),
        (
            "not the newest",
            decided(
                "below_newest",
                Some("1.3.0 is newer, and the policy ships the newest"),
                &[],
            ),
            "below_newest",
            "It is not the newest of the versions that the policy takes: 1.3.0 is newer, and the policy ships the newest.",
        ),
        (
            "a moved tag",
            pushed(|s| s.version.as_mut().unwrap().moved = true),
            "tag_moved",
            "The tag v2 named another image before; this one is a version of its own.",
        ),
        (
            "older",
            decided("downgrade", None, &[]),
            "image_downgrade",
            "It is older than what the devices are to run, and the policy does not allow that.",
        ),
        (
            "no policies",
            decided("no_policy", None, &[]),
            "no_policies",
            "There is no policy, so that no push leads to a rollout.",
        ),
        (
            "policy off",
            decided("no_policy", None, &[json!({"enabled": false})]),
            "policy_disabled",
            "The policy \"shops\" takes it, but is switched off.",
        ),
        (
            "another tag",
            decided(
                "no_policy",
                None,
                &[json!({"tag": {"type": "glob", "pattern": "w*"}})],
            ),
            "policy_other_tag",
            "The policy \"shops\" takes its repository, but not the tag \"v2\": it takes \"w*\".",
        ),
        (
            "another repository",
            decided("no_policy", None, &[json!({"image": "r.io/lab/*"})]),
            "policy_other_image",
            "No policy takes r.io/demo/app; the nearest, \"shops\", takes r.io/lab/*.",
        ),
        (
            "a policy came since",
            decided("no_policy", Some("there are no policies"), &[json!({})]),
            "no_policy_took_it",
            "No policy took it when it was pushed: there are no policies. The policy \"shops\" takes it by now.",
        ),
        (
            "nobody can",
            decided(
                "no_devices",
                Some("all are left out: 4 disabled"),
                &[json!({})],
            ),
            "no_devices",
            "The policy \"shops\" took it, but no device can: all are left out: 4 disabled.",
        ),
        (
            "a rollout",
            pushed(|s| {
                s.version.as_mut().unwrap().decision = Some("rollout".parse().unwrap());
                s.rollouts = vec![rollout(RolloutStatus::InProgress, 2)];
                s.policies = vec![policy(&json!({}))];
            }),
            "rollout_made",
            "A rollout of r.io/demo/app:v2 to 30 devices was made by the policy \"shops\"; it is under way, and 10 are healthy on it.",
        ),
    ]
}

#[test]
fn an_image_says_what_became_of_it() {
    for (name, story, code, sentence) in cases() {
        let answer = Answer::of(&image(&story, noon(0)));
        let found = answer.reasons.iter().find(|one| one.code.as_str() == code);
        let found = found.unwrap_or_else(|| panic!("{name}: {:?}", answer.reasons));
        assert_eq!(found.sentence, sentence, "{name}");
    }
}

#[test]
fn a_rollout_of_an_image_is_told_with_what_it_waits_for() {
    let mut story = pushed(|_| {});
    story.version.as_mut().unwrap().decision = Some("rollout".parse().unwrap());
    story.rollouts = vec![rollout(RolloutStatus::InProgress, 1)];
    let answer = Answer::of(&image(&story, noon(0)));
    let codes: Vec<&str> = answer.reasons.iter().map(|one| one.code.as_str()).collect();
    assert_eq!(codes, ["rollout_made", "devices_on_their_way"]);
    assert_eq!(answer.waiting_for, Some(answer.reasons[1].clone()));
}
