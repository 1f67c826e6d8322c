use crate::harness::{Api, IMAGE, apis, digest};
use serde_json::{Value, json};

async fn policy(api: &Api, spec: Value) -> String {
    let made = api.call("POST", "/image-policies", spec).await;
    assert_eq!(made.status, 201, "{made:?}");
    made.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_hold_is_checked_shown_and_lifted_once() {
    for api in apis().await {
        let spec = json!({"name": "apps", "image": "r.io:5000/demo/*", "strategy": "auto"});
        let id = policy(&api, spec).await;
        let none = uuid::Uuid::now_v7();
        for (body, field) in [
            (json!({"reason": "x"}), "policy_id"),
            (
                json!({"policy_id": id, "repository": "r.io/a", "reason": "x"}),
                "repository",
            ),
            (json!({"policy_id": id}), "reason"),
            (json!({"policy_id": id, "reason": " "}), "reason"),
            (json!({"repository": "A B", "reason": "x"}), "repository"),
            (
                json!({"policy_id": id, "reason": "x", "ends_at": "2000-01-01T00:00:00Z"}),
                "ends_at",
            ),
        ] {
            let answer = api.call("POST", "/holds", body.clone()).await;
            assert_eq!(
                (answer.status, answer.fields()),
                (400, vec![field]),
                "{body}"
            );
        }
        let missing = api
            .call("POST", "/holds", json!({"policy_id": none, "reason": "x"}))
            .await;
        assert_eq!((missing.status, missing.problem()), (404, "not-found"));
        let body =
            json!({"policy_id": id, "reason": "inventory", "ends_at": "2999-01-01T00:00:00Z"});
        let made = api.call("POST", "/holds", body).await;
        assert_eq!(
            (made.status, &made.body["state"]),
            (201, &json!("in_force"))
        );
        let path = format!("/holds/{}", made.body["id"].as_str().unwrap());
        assert_eq!(made.header("location"), format!("/api/v1{path}"));
        assert_eq!(api.get(&path).await.body["reason"], "inventory");
        let test = json!({"image": "r.io:5000/demo/app:v2"});
        let tried = api.call("POST", "/image-policies/test", test.clone()).await;
        let before = tried.body["policies"][0]["before"][0].as_str().unwrap();
        assert!(
            before.contains("until 2999-01-01 00:00:00 UTC: inventory"),
            "{before}"
        );
        let lift = format!("{path}/lift");
        for reason in ["counted", "again"] {
            let lifted = api.call("POST", &lift, json!({ "reason": reason })).await;
            assert_eq!(
                (lifted.status, &lifted.body["lift_reason"]),
                (200, &json!("counted"))
            );
        }
        assert_eq!(
            api.get("/holds?state=in_force").await.body["items"],
            json!([])
        );
        assert_eq!(
            api.get("/holds?state=past").await.body["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let tried = api.call("POST", "/image-policies/test", test).await;
        assert_eq!(tried.body["policies"][0]["before"], Value::Null);
        let gone = format!("/holds/{none}/lift");
        let missing = api.call("POST", &gone, json!({"reason": "x"})).await;
        assert_eq!((missing.status, missing.problem()), (404, "not-found"));
    }
}

#[tokio::test]
async fn a_test_of_policies_says_the_version_what_it_waits_for_and_why_others_do_not_take_it() {
    let trusted = include_str!("../../../core/src/signatures/samples/trusted.pub");
    for api in apis().await {
        let device = api.device("lab").await;
        let signed = json!({"name": "signed", "image": "r.io:5000/demo/app", "strategy": "auto",
            "tag": {"type": "regex", "pattern": "^rel-(.*)$", "extract": "$1", "order": "numeric"},
            "min_age_seconds": 60, "signature": {"keys": [trusted]}, "priority": 2});
        policy(&api, signed).await;
        let stable = json!({"name": "stable", "image": "r.io:5000/demo/app", "strategy": "auto",
            "tag": {"type": "semver", "range": "<1"}});
        policy(&api, stable).await;
        let test = json!({"image": format!("r.io:5000/demo/app:rel-1.10@{}", digest('a'))});
        let tried = api.call("POST", "/image-policies/test", test).await;
        let policies = tried.body["policies"].as_array().unwrap();
        assert_eq!(policies[0]["version"], "1.10", "{tried:?}");
        let before: Vec<&str> = policies[0]["before"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        assert_eq!(
            before,
            [
                "an age of 60 s since it was first seen",
                "a signature by one of the policy's keys: none was looked for yet"
            ]
        );
        let mismatch = policies[1]["mismatch"].as_str().unwrap();
        assert!(
            mismatch.ends_with("it is no semantic version of three numbers"),
            "{mismatch}"
        );
        // A platform that is known makes a dry run wait for the registry, and say whom it leaves out.
        let tags = json!({"tags": {"platform": "linux/arm/v7"}});
        let path = format!("/devices/{device}");
        assert_eq!(api.call("PATCH", &path, tags).await.status, 200);
        let image = format!("{IMAGE}@{}", digest('a'));
        let asked = json!({"image": image, "reason": "a look", "dry_run": true});
        let plan = api
            .call("POST", "/images/trigger-update", asked.clone())
            .await;
        assert_eq!(
            plan.body["waiting_for"], "the registry, to tell which platforms the image is made for",
            "{plan:?}"
        );
        let mut tx = api.deps.store.begin().await.unwrap();
        let (repository, named) = (
            "r.io:5000/demo/app".parse().unwrap(),
            digest('a').parse().unwrap(),
        );
        let correlation = windlass_types::ids::CorrelationId(uuid::Uuid::now_v7());
        windlass_store::image_facts::want(&mut tx, &repository, &named, correlation, false)
            .await
            .unwrap();
        let again = tx.now();
        let asks = windlass_store::image_facts::take(&mut tx, 9, again)
            .await
            .unwrap();
        let facts = windlass_types::oci::ImageFacts {
            platforms: windlass_core::platforms::read("linux/amd64"),
            ..Default::default()
        };
        assert!(
            windlass_store::image_facts::learn(&mut tx, &asks[0], &facts)
                .await
                .unwrap()
        );
        tx.commit().await.unwrap();
        let plan = api.call("POST", "/images/trigger-update", asked).await;
        assert_eq!(
            plan.body["skipped"],
            json!({"other_platform": 1}),
            "{plan:?}"
        );
        assert_eq!(plan.body["devices"][0]["skip"], "other_platform");
    }
}
