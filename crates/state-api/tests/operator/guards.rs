use crate::harness::{IMAGE, apis};
use serde_json::json;

#[tokio::test]
async fn of_two_people_who_order_on_the_same_page_one_is_told_to_look_again() {
    for api in apis().await {
        let id = api.rollout('a').await;
        let seen = api.get(&format!("/rollouts/{id}")).await;
        let tag = seen.header("etag").to_owned();
        assert_eq!(tag, format!("\"{}\"", seen.body["version"]));
        let order = |name: &str, tag: &str| {
            api.request("POST", &format!("/rollouts/{id}/{name}"))
                .header("if-match", tag)
                .json(&json!({"reason": "because"}))
        };
        let (one, two) = tokio::join!(
            api.send(order("pause", &tag)),
            api.send(order("cancel", &tag))
        );
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 412], "{one:?} {two:?}");
        let old = api.send(order("pause", "\"999\"")).await;
        assert_eq!((old.status, old.problem()), (412, "stale"));
        let odd = api.send(order("pause", "three")).await;
        assert_eq!((odd.status, odd.fields()), (400, vec!["If-Match"]));
        assert_eq!(api.send(order("pause", "*")).await.status, 202);
    }
}

#[tokio::test]
async fn orders_for_batches_name_one_that_is_there() {
    for api in apis().await {
        let id = api.rollout('a').await;
        let why = json!({"reason": "because"});
        let none = format!("/rollouts/{id}/batches/9999/rollback");
        let missing = api.call("POST", &none, why).await;
        assert_eq!((missing.status, missing.problem()), (404, "not-found"));
        let body = json!({"reason": "because", "batch": 9999});
        let wrong = api
            .call("POST", &format!("/rollouts/{id}/approve"), body)
            .await;
        assert_eq!((wrong.status, wrong.fields()), (400, vec!["batch"]));
    }
}

#[tokio::test]
async fn a_policy_is_switched_once_and_tried() {
    for api in apis().await {
        api.device("edge").await;
        let spec = json!({"name": "a", "image": "r.io:5000/demo/*", "strategy": "auto"});
        let made = api.call("POST", "/image-policies", spec).await;
        let path = format!("/image-policies/{}", made.body["id"].as_str().unwrap());
        let why = json!({"reason": "for now"});
        for _ in 0..2 {
            let off = api
                .call("POST", &format!("{path}/disable"), why.clone())
                .await;
            assert_eq!(off.body["enabled"], false, "{off:?}");
            assert_eq!(off.header("etag"), "\"2\"");
        }
        let image = json!({"image": IMAGE.replace(":v1", ":v2")});
        let all = api
            .call("POST", "/image-policies/test", image.clone())
            .await;
        assert_eq!(all.body["policies"][0]["mismatch"], "it is switched off");
        let one = api
            .call("POST", &format!("{path}/test"), image.clone())
            .await;
        assert_eq!(one.body["policies"][0]["matches"], true, "{one:?}");
        assert_eq!(one.body["policies"][0]["batches"][0]["devices"], 1);
        let bare = json!({"image": "r.io:5000/demo/app"});
        let bare = api.call("POST", "/image-policies/test", bare).await;
        // What stands beside ids is none of them.
        let put = api.call("PUT", "/image-policies/test", image).await;
        assert_eq!(put.status, 405, "{:?}", put.body);
        assert_eq!((bare.status, bare.fields()), (400, vec!["image"]));
    }
}

#[tokio::test]
async fn a_deleted_device_is_gone_and_head_is_answered_as_get() {
    for api in apis().await {
        let device = api.device("edge").await;
        let path = format!("/devices/{device}");
        let head = api.send(api.request("HEAD", &path)).await;
        assert_eq!((head.status, head.body), (200, json!("")));
        let zone = json!({"time_zone": "Mars/Olympus"});
        let odd = api.call("PATCH", &path, zone).await;
        assert_eq!((odd.status, odd.fields()), (400, vec!["time_zone"]));
        for zone in [json!("Europe/Berlin"), json!(null)] {
            let set = api.call("PATCH", &path, json!({ "time_zone": zone })).await;
            assert_eq!(set.body["time_zone"], zone, "{set:?}");
        }
        let why = json!({"reason": "sold"});
        assert_eq!(api.call("DELETE", &path, why.clone()).await.status, 204);
        assert_eq!(api.call("DELETE", &path, why).await.status, 404);
        assert_eq!(api.get(&path).await.status, 404);
    }
}

#[tokio::test]
async fn a_plan_is_kept_and_says_what_changed_since() {
    for api in apis().await {
        api.device("edge").await;
        let image = format!("r.io:5000/demo/app:v2@{}", crate::harness::digest('c'));
        let asked = json!({"image": image, "reason": "try", "dry_run": true});
        let plan = api
            .call("POST", "/images/trigger-update", asked.clone())
            .await;
        let id = plan.body["plan_id"].as_str().unwrap().to_owned();
        let kept = api.get(&format!("/rollout-plans/{id}")).await;
        assert_eq!(kept.body["plan"]["batches"], plan.body["batches"]);
        api.device("edge").await;
        let apply = format!("/rollout-plans/{id}/apply");
        let changed = api.call("POST", &apply, json!({"reason": "go"})).await;
        assert_eq!((changed.status, changed.problem()), (409, "conflict"));
        let detail = changed.body["detail"].as_str().unwrap();
        assert!(detail.contains("joined"), "{detail}");
        let mut both = asked;
        both["rule"] = json!({"strategy": "auto"});
        both["strategy"] = json!("auto");
        let both = api.call("POST", "/images/trigger-update", both).await;
        assert_eq!((both.status, both.fields()), (400, vec!["strategy"]));
    }
}
