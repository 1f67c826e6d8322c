use crate::harness::{Api, apis, digest};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;
use windlass_testkit::eventually;
use windlass_types::event::{EventType, NewEvent};

/// Plays the planner: says of the open trigger that no device is in its scope.
async fn decide(api: &Api) {
    eventually("a trigger", Duration::from_secs(10), async || {
        let mut tx = api.deps.store.begin().await.unwrap();
        let now = tx.now();
        let settled = tx
            .sql(
                "UPDATE image_triggers SET decision = 'no_devices', detail = 'nobody runs it', \
                 settled_at = $1, next_resolve_at = NULL WHERE settled_at IS NULL",
            )
            .bind(now)
            .execute()
            .await
            .unwrap();
        let event = NewEvent::new(EventType::UpdateIgnored, "test");
        windlass_store::events::append(&mut tx, event)
            .await
            .unwrap();
        api.deps.commit(tx).await.unwrap();
        settled == 1
    })
    .await;
}

#[tokio::test]
async fn a_trigger_answers_with_what_the_planner_made_of_it() {
    for api in apis().await {
        let image = format!("r.io:5000/demo/app:v2@{}", digest('a'));
        let body = json!({"image": image, "reason": "by hand"});
        let (answer, ()) = tokio::join!(
            api.call("POST", "/images/trigger-update", body),
            decide(&api)
        );
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.body["decision"], "no_devices");
        let path = format!("/images/triggers/{}", answer.body["id"].as_str().unwrap());
        assert_eq!(answer.header("location"), format!("/api/v1{path}"));
        let read = api.get(&path).await;
        assert_eq!((read.status, &read.body), (200, &answer.body));
        let none = api
            .get(&format!("/images/triggers/{}", Uuid::now_v7()))
            .await;
        assert_eq!(none.status, 404);
    }
}

#[tokio::test]
async fn a_trigger_that_waits_for_its_digest_is_accepted() {
    for api in apis().await {
        let body = json!({"image": "r.io:5000/demo/app:v2", "reason": "by hand"});
        let answer = api.call("POST", "/images/trigger-update", body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.body["decision"], Value::Null);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("digest"), "{detail}");
    }
}

#[tokio::test]
async fn a_dry_run_shows_the_batches_and_writes_nothing() {
    for api in apis().await {
        for _ in 0..7 {
            api.device("edge").await;
        }
        let off = api.device("edge").await;
        api.call(
            "PATCH",
            &format!("/devices/{off}"),
            json!({"enabled": false}),
        )
        .await;
        let image = format!("r.io:5000/demo/app:v2@{}", digest('a'));
        let body = json!({"image": image, "reason": "what if", "dry_run": true,
            "batches": [{"percent": 10}, {"percent": 100}]});
        let plan = api.call("POST", "/images/trigger-update", body).await;
        assert_eq!(plan.status, 200, "{plan:?}");
        assert_eq!(plan.body["total_devices"], 8);
        let sizes: Vec<_> = plan.body["batches"]
            .as_array()
            .unwrap()
            .iter()
            .map(|batch| batch["devices"].as_i64().unwrap())
            .collect();
        assert_eq!(sizes, [1, 6]);
        assert_eq!(plan.body["skipped"], json!({"disabled": 1}));
        assert_eq!(plan.body["devices"].as_array().unwrap().len(), 8);
        let mut session = api.deps.store.read().await.unwrap();
        let (stored,): (i64,) = session
            .sql("SELECT COUNT(*) FROM image_triggers")
            .one()
            .await
            .unwrap();
        assert_eq!(stored, 0);
    }
}

#[tokio::test]
async fn a_trigger_that_cannot_be_is_refused_by_field() {
    for api in apis().await {
        let digest = digest('a');
        let cases = [
            (json!({"image": "UPPER:v1", "reason": "x"}), 400, "image"),
            (
                json!({"image": "r.io/demo/app", "reason": "x"}),
                400,
                "image",
            ),
            (
                json!({"image": format!("r.io/a@{digest}"), "reason": " "}),
                400,
                "reason",
            ),
            (
                json!({"image": format!("r.io/a@{digest}"), "reason": "x", "strategy": "canary"}),
                400,
                "canary",
            ),
            (
                json!({"image": "r.io/a:v1", "reason": "x", "colour": 1}),
                400,
                "colour",
            ),
        ];
        for (body, status, field) in cases {
            let answer = api
                .call("POST", "/images/trigger-update", body.clone())
                .await;
            assert_eq!(
                (answer.status, answer.fields()),
                (status, vec![field]),
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn versions_are_shown_with_what_became_of_them() {
    for api in apis().await {
        let mut tx = api.deps.store.begin().await.unwrap();
        let now = tx.now();
        let ids = [Uuid::now_v7(), Uuid::now_v7()];
        for (id, tag) in ids.iter().zip(["v1", "v2"]) {
            tx.sql(
                "INSERT INTO image_versions (id, repository, tag, digest, kind, seen_at, \
                 correlation_id) VALUES ($1, 'r.io:5000/demo/app', $2, $3, 'new', $4, $1)",
            )
            .bind(*id)
            .bind(tag.to_owned())
            .bind(digest('a'))
            .bind(now)
            .execute()
            .await
            .unwrap();
        }
        tx.sql(
            "INSERT INTO image_plans (image_version_id, decision, detail, decided_at) \
             VALUES ($1, 'no_policy', 'no enabled policy takes it', $2)",
        )
        .bind(ids[0])
        .bind(now)
        .execute()
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let all = api.get("/images/versions").await;
        assert_eq!(all.body["items"][0]["tag"], "v2");
        assert_eq!(all.body["items"][0]["decision"], Value::Null);
        assert_eq!(all.body["items"][1]["decision"], "no_policy");
        let page = api
            .get("/images/versions?limit=1&repository=r.io:5000/demo/app")
            .await;
        let next = page.body["next"].as_str().unwrap();
        let rest = api.get(&format!("/images/versions?after={next}")).await;
        assert_eq!(rest.body["items"][0]["tag"], "v1");
        let other = api.get("/images/versions?repository=r.io/other").await;
        assert_eq!(other.body, json!({"items": []}));
        assert_eq!(
            api.get("/images/versions?repository=A%20B").await.status,
            400
        );
    }
}
