use super::*;
use serde_json::{Value, json};
use windlass_reconcile::spec::ServiceKey;

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Containers by name, tag and labels, all of one repository.
fn book(containers: &[(&str, &str, Value)]) -> Book {
    let entry = |(at, (name, tag, labels)): (usize, &(&str, &str, Value))| {
        let key = ServiceKey {
            app: 1,
            service: i64::try_from(at).unwrap(),
        };
        let taken = json!({
            "container": *name, "name": *name, "app_name": "containers", "service_name": *name,
            "image": format!("r.local/demo/app:{tag}@{DIGEST}"), "asks": labels, "settings": "s",
            "kept": {"container": {}, "networks": {}},
        });
        (key, serde_json::from_value(taken).unwrap())
    };
    containers.iter().enumerate().map(entry).collect()
}

fn names(wishes: &Wishes) -> Vec<&str> {
    wishes.policies.keys().map(String::as_str).collect()
}

fn policy(spec: &Value) -> Policy {
    let mut policy = json!({"id": uuid::Uuid::nil(), "version": 1,
        "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z"});
    let fields = policy.as_object_mut().unwrap();
    fields.extend(spec.as_object().unwrap().clone());
    serde_json::from_value(policy).unwrap()
}

#[test]
fn containers_of_one_image_and_tag_share_a_policy() {
    let held = book(&[
        ("a", "stable", json!({})),
        ("b", "stable", json!({})),
        ("c", "edge", json!({})),
    ]);
    let wishes = of(&held, &[]);
    assert_eq!(
        names(&wishes),
        [
            "local/r.local/demo/app:edge",
            "local/r.local/demo/app:stable"
        ]
    );
    assert_eq!(wishes.said, Vec::<String>::new());
    assert!(wishes.policies.values().all(is_ours));
}

#[test]
fn where_those_of_one_image_and_tag_disagree_there_is_no_policy_and_all_are_told() {
    let mine = policy(&json!({"name": "mine", "image": "r.local/**", "strategy": "auto"}));
    for (other, known, told) in [
        (json!({"windlass.update": "manual"}), vec![], 2),
        (json!({"windlass.window": "02:00-04:00"}), vec![], 2),
        // A policy of a person's that is not there, and one that is and so says nothing of the one that names it.
        (json!({"windlass.policy": "mine"}), vec![], 2),
        (json!({"windlass.policy": "mine"}), vec![mine], 1),
    ] {
        for turn in [["a", "b"], ["b", "a"]] {
            let labels = |name: &str| {
                if name == "a" {
                    json!({})
                } else {
                    other.clone()
                }
            };
            let [first, second] = turn;
            let held = book(&[
                (first, "stable", labels(first)),
                (second, "stable", labels(second)),
                ("c", "edge", json!({})),
            ]);
            let wishes = of(&held, &known);
            assert_eq!(names(&wishes), ["local/r.local/demo/app:edge"], "{other}");
            assert_eq!(wishes.said.len(), told, "{wishes:?}");
            let a = wishes.said.iter().find(|said| said.starts_with("a: "));
            assert!(
                a.is_some_and(|said| said.contains("b has the same image and tag")),
                "{wishes:?}"
            );
        }
    }
}

#[test]
fn a_range_is_not_followed_where_another_that_it_moves_asks_for_another_time() {
    let range = json!({"windlass.versions": ">=1"});
    let manual = json!({"windlass.versions": ">=1", "windlass.update": "manual"});
    let held = book(&[("a", "1.2.0", range), ("b", "1.0.0", manual)]);
    let wishes = of(&held, &[]);
    assert_eq!(names(&wishes), Vec::<&str>::new());
    assert_eq!(wishes.said.len(), 2, "{wishes:?}");
}

#[test]
fn a_range_that_would_move_another_container_too_is_not_followed() {
    let range = json!({"windlass.versions": ">=1"});
    let held = book(&[("a", "1.2.0", range.clone()), ("b", "1.0.0", json!({}))]);
    let wishes = of(&held, &[]);
    assert_eq!(names(&wishes), ["local/r.local/demo/app:1.0.0"]);
    assert!(
        wishes.said[0].contains("would move b as well"),
        "{wishes:?}"
    );
    // Both want it, or the other one is on no version.
    let both = of(
        &book(&[("a", "1.2.0", range.clone()), ("b", "1.0.0", range.clone())]),
        &[],
    );
    assert_eq!(names(&both), ["local/r.local/demo/app:>=1"]);
    let apart = of(
        &book(&[("a", "1.2.0", range), ("b", "edge", json!({}))]),
        &[],
    );
    assert_eq!(apart.said, Vec::<String>::new());
}

#[test]
fn a_policy_that_a_person_wrote_must_be_there_and_take_the_image() {
    let held = book(&[("a", "stable", json!({"windlass.policy": "mine"}))]);
    let spec = |image: &str, enabled: bool| {
        policy(&json!({"name": "mine", "image": image, "strategy": "auto", "enabled": enabled}))
    };
    for (known, told) in [
        (vec![], Some("there is no policy \"mine\"")),
        (
            vec![spec("other/*", true)],
            Some("takes other/*, not r.local/demo/app"),
        ),
        (vec![spec("r.local/**", false)], Some("is switched off")),
        (vec![spec("r.local/**", true)], None),
    ] {
        let wishes = of(&held, &known);
        assert_eq!(names(&wishes), Vec::<&str>::new());
        let said = wishes.said.first();
        assert_eq!(said.is_some(), told.is_some(), "{told:?}");
        assert!(
            said.is_none_or(|said| said.contains(told.unwrap())),
            "{said:?}"
        );
    }
}

#[test]
fn policies_of_a_person_are_not_taken_for_those_that_are_made_here() {
    let spec = json!({"name": "local/mine", "image": "a/b", "strategy": "auto"});
    assert!(!is_ours(&serde_json::from_value(spec).unwrap()));
    let long = "x".repeat(200);
    assert!(name(&long, "1").len() <= LONGEST && name(&long, "1") != name(&long, "2"));
}
