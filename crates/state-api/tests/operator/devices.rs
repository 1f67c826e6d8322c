use crate::harness::{IMAGE, apis, digest};
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn devices_are_listed_by_fleet_tag_and_when_they_were_seen() {
    for api in apis().await {
        let (edge, lab) = (api.device("edge").await, api.device("lab").await);
        let tags = json!({"tags": {"site": "a=b", "rack": "7"}});
        let patched = api.call("PATCH", &format!("/devices/{edge}"), tags).await;
        assert_eq!(patched.status, 200, "{patched:?}");
        let mut tx = api.deps.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql("INSERT INTO device_presence (device_uuid, last_seen_at) VALUES ($1, $2)")
            .bind(lab.0)
            .bind(now)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();

        let cases = [
            ("?fleet=edge", vec![edge]),
            ("?tag=rack=7", vec![edge]),
            ("?tag=site=a%3Db", vec![edge]),
            ("?tag=rack=8", vec![]),
            ("?seen_within=600", vec![lab]),
            ("?fleet=edge&seen_within=600", vec![]),
        ];
        for (query, expected) in cases {
            let page = api.get(&format!("/devices{query}")).await;
            assert_eq!(page.status, 200, "{query} {page:?}");
            let found: Vec<_> = page.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["uuid"].clone())
                .collect();
            let expected: Vec<_> = expected.iter().map(|id| json!(id)).collect();
            assert_eq!(found, expected, "{query}");
        }
        let page = api.get("/devices?limit=1").await;
        let next = page.body["next"].as_str().unwrap();
        let rest = api.get(&format!("/devices?limit=1&after={next}")).await;
        assert_ne!(rest.body["items"][0]["uuid"], page.body["items"][0]["uuid"]);
        for query in ["?tag=rack", "?fleet=-x", "?seen_within=99999999"] {
            assert_eq!(
                api.get(&format!("/devices{query}")).await.status,
                400,
                "{query}"
            );
        }
        let fleets = api.get("/fleets").await;
        assert_eq!(fleets.body["items"][0]["id"], "edge");
        assert_eq!(fleets.body["items"][1]["devices"], 1);
    }
}

#[tokio::test]
async fn a_device_is_changed_in_what_is_given_and_the_change_is_told() {
    for api in apis().await {
        let device = api.device("edge").await;
        let path = format!("/devices/{device}");
        let change = json!({"name": "kiosk", "fleet": "shops", "enabled": false});
        let changed = api.call("PATCH", &path, change).await;
        assert_eq!(changed.status, 200);
        let read = api.get(&path).await;
        assert_eq!(read.body, changed.body);
        assert_eq!(
            (
                &read.body["name"],
                &read.body["fleet"],
                &read.body["enabled"]
            ),
            (&json!("kiosk"), &json!("shops"), &json!(false))
        );
        // Nothing given, nothing changed, nothing told.
        assert_eq!(api.call("PATCH", &path, json!({})).await.body, read.body);
        let mut session = api.deps.store.read().await.unwrap();
        let (told,): (i64,) = session
            .sql("SELECT COUNT(*) FROM events WHERE type = 'device.changed'")
            .one()
            .await
            .unwrap();
        assert_eq!(told, 1);

        let wrong = json!({"name": " ", "tags": {"": "x", "long": "x".repeat(513)}});
        let answer = api.call("PATCH", &path, wrong).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.fields(), ["name", "tags.", "tags.long"]);
        let none = api
            .call(
                "PATCH",
                &format!("/devices/{}", Uuid::new_v4()),
                json!({"fleet": "new"}),
            )
            .await;
        assert_eq!((none.status, none.problem()), (404, "not-found"));
    }
}

#[tokio::test]
async fn a_target_is_set_by_hand_under_the_version_that_was_read() {
    for api in apis().await {
        let device = api.device("edge").await;
        let path = format!("/devices/{device}/target-state");
        let read = api.get(&path).await;
        assert_eq!((read.status, read.header("etag")), (200, "\"2\""));
        assert_eq!(read.body["apps"]["1"]["services"][0]["imageName"], IMAGE);

        let next = json!({"apps": {"7": {"appId": 7, "appName": "n", "services": [
            {"serviceId": 1, "serviceName": "s", "imageName": "r.io/other:v1", "state": "running"}]}},
            "config": {"a": 1}});
        let put = |version: &'static str| {
            let request = api.request("PUT", &path).header("if-match", version);
            api.send(request.json(&next))
        };
        let set = put("\"2\"").await;
        assert_eq!((set.status, set.header("etag")), (200, "\"3\""), "{set:?}");
        assert_eq!(set.body["source"], "operator");
        let service = &set.body["apps"]["7"]["services"][0];
        assert_eq!(service["config"]["image"], "r.io/other:v1");
        let stale = put("\"2\"").await;
        assert_eq!((stale.status, stale.problem()), (412, "stale"));
        // The same again changes nothing.
        assert_eq!(put("\"3\"").await.header("etag"), "\"3\"");

        let wrong = json!({"apps": {"7": {"appId": 8, "appName": "n", "services": []}}});
        let answer = api.call("PUT", &path, wrong).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (400, vec!["apps.7.appId"])
        );
        let unknown = api.call("PUT", &path, json!({"apps": {}, "app": 1})).await;
        assert_eq!((unknown.status, unknown.fields()), (400, vec!["app"]));
        let none = format!("/devices/{}/target-state", Uuid::new_v4());
        assert_eq!(
            api.call("PUT", &none, json!({"apps": {}})).await.status,
            404
        );
        assert_eq!(api.get(&none).await.status, 404);
    }
}

#[tokio::test]
async fn why_says_where_a_device_stands_and_what_failed_on_it() {
    for api in apis().await {
        let device = api.device("edge").await;
        let path = format!("/devices/{device}/why");
        let before = api.get(&path).await;
        assert_eq!(before.status, 200, "{before:?}");
        assert_eq!(before.body["rollouts"], json!([]));

        let rollout = api.rollout('a').await;
        let mut tx = api.deps.store.begin().await.unwrap();
        let now = tx.now();
        tx.sql(
            "INSERT INTO device_failed_images (device_uuid, digest, rollout_id, failed_at) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind(device.0)
        .bind(digest('b'))
        .bind(rollout.0)
        .bind(now)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let why = api.get(&path).await;
        assert_eq!(why.body["rollouts"][0]["status"], "pending");
        assert_eq!(why.body["failed_digests"][0]["quarantined"], false);
        let text = why.body["sentences"].to_string();
        for part in [
            "not been seen",
            "version 2",
            "waits in batch 1",
            "sha256:bbbbbbbbbbbb",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let state = api.get(&format!("/devices/{device}/current-state")).await;
        assert_eq!((state.status, &state.body["report"]), (200, &json!(null)));
        for path in ["", "/why", "/current-state"] {
            let none = api.get(&format!("/devices/{}{path}", Uuid::new_v4())).await;
            assert_eq!((none.status, none.problem()), (404, "not-found"));
        }
    }
}
