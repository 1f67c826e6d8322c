use super::*;
use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use uuid::Uuid;
use windlass_types::ids::PolicyId;
use windlass_types::policy::PolicySpec;

/// A policy; its number is its age, 0 the oldest.
fn policy(number: u32, name: &str, image: &str, tag: &str, priority: i32) -> Policy {
    let spec: PolicySpec = serde_json::from_value(serde_json::json!({
        "name": name, "image": image, "tag": {"type": "glob", "pattern": tag},
        "strategy": "auto", "priority": priority,
    }))
    .unwrap();
    let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::from(number));
    Policy {
        id: PolicyId(Uuid::from_u128(u128::from(1000 - number))),
        version: 1,
        created_at: at,
        updated_at: at,
        spec,
    }
}

fn off(mut policy: Policy) -> Policy {
    policy.spec.enabled = false;
    policy
}

fn decided(policies: &[Policy], image: &str) -> String {
    let image: windlass_types::image::ImageReference = image.parse().unwrap();
    match decide(policies, image.repository(), image.tag().unwrap()) {
        Ok(policy) => policy.spec.name.clone(),
        Err(none) => format!("none: {none}"),
    }
}

#[test]
fn globs_stop_at_slashes_unless_doubled() {
    let cases = [
        ("r:5000/demo/*", "r:5000/demo/app", true),
        ("r:5000/demo/*", "r:5000/demo/app/sub", false),
        ("r:5000/**", "r:5000/demo/app/sub", true),
        ("**", "docker.io/library/nginx", true),
        ("*", "docker.io/library/nginx", false),
        ("ghcr.io/acme/{web,api}", "ghcr.io/acme/api", true),
        ("ghcr.io/acme/{web,api}", "ghcr.io/acme/app", false),
        ("ghcr.io/acme/app?", "ghcr.io/acme/app2", true),
        ("ghcr.io/acme/app[0-4]", "ghcr.io/acme/app5", false),
        ("ghcr.io/acme/[", "ghcr.io/acme/[", false),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(glob_matches(pattern, text), expected, "{pattern} on {text}");
    }
}

#[test]
fn the_highest_priority_decides_and_the_older_on_a_tie() {
    let all = policy(0, "all", "**", "*", 0);
    let apps = policy(1, "apps", "r.io/demo/*", "*", 0);
    let urgent = policy(2, "urgent", "r.io/demo/*", "hot-*", 10);
    let policies = [apps.clone(), urgent.clone(), all.clone()];
    assert_eq!(decided(&policies, "r.io/demo/app:v1"), "all");
    assert_eq!(decided(&policies, "r.io/demo/app:hot-1"), "urgent");
    assert_eq!(
        decided(&[apps, urgent, off(all)], "r.io/demo/app:v1"),
        "apps"
    );
}

#[test]
fn who_wonders_is_told_what_came_nearest() {
    let apps = policy(0, "apps", "r.io/demo/*", "v*", 0);
    let edge = policy(1, "edge", "r.io/demo/app", "beta", 5);
    let other = policy(2, "other", "ghcr.io/acme/*", "*", 9);
    let cases: [(&str, Vec<Policy>, &str, &str); 6] = [
        (
            "nothing there",
            vec![],
            "r.io/demo/app:v1",
            "none: there are no policies",
        ),
        (
            "only a switched-off one takes it",
            vec![off(apps.clone()), edge.clone()],
            "r.io/demo/app:v1",
            "none: policy \"apps\" would take it, but is switched off",
        ),
        (
            "the tag is another",
            vec![apps.clone(), edge.clone(), other.clone()],
            "r.io/demo/app:nightly",
            "none: policy \"edge\" takes the repository, but not the tag \"nightly\": its tags are \"beta\"",
        ),
        (
            "a policy that is on is named before one that is off",
            vec![apps.clone(), off(edge.clone())],
            "r.io/demo/app:nightly",
            "none: policy \"apps\" takes the repository, but not the tag \"nightly\": its tags are \"v*\"",
        ),
        (
            "the repository is another",
            vec![other.clone(), apps.clone()],
            "r.io/tools/app:v1",
            "none: no policy takes r.io/tools/app; the nearest, \"apps\", takes \"r.io/demo/*\"",
        ),
        (
            "a name without a registry is Docker Hub's",
            vec![policy(0, "nginx", "docker.io/library/nginx", "*", 0)],
            "nginx:1.27",
            "nginx",
        ),
    ];
    for (name, policies, image, expected) in cases {
        assert_eq!(decided(&policies, image), expected, "{name}");
    }
}

proptest! {
    #[test]
    fn the_order_of_policies_changes_nothing(
        kinds in prop::collection::vec((0..4_usize, 0..3_usize, -1..2_i32, any::<bool>()), 0..8),
        turn: prop::sample::Index, image in 0..3_usize, tag in 0..3_usize,
    ) {
        let images = ["**", "r.io/demo/*", "r.io/demo/app", "ghcr.io/**"];
        let tags = ["*", "v*", "beta"];
        let policies: Vec<_> = (0..).zip(kinds).map(|(n, (image, tag, priority, on))| {
            let policy = policy(n, &format!("p{n}"), images[image], tags[tag], priority);
            if on { policy } else { off(policy) }
        }).collect();
        let mut turned = policies.clone();
        if !turned.is_empty() {
            turned.rotate_left(turn.index(policies.len()));
        }
        let image = format!("{}:{}", ["r.io/demo/app", "r.io/x", "q.io/y"][image], ["v1", "beta", "x"][tag]);
        prop_assert_eq!(decided(&policies, &image), decided(&turned, &image));
    }
}
