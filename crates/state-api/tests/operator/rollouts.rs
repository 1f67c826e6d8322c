use crate::harness::{apis, digest};
use serde_json::json;
use std::collections::BTreeSet;
use uuid::Uuid;

#[tokio::test]
async fn a_rollout_is_shown_with_its_batches_devices_and_events() {
    for api in apis().await {
        let mut devices = BTreeSet::new();
        for _ in 0..3 {
            devices.insert(api.device("edge").await.to_string());
        }
        let id = api.rollout('a').await;

        let view = api.get(&format!("/rollouts/{id}")).await;
        assert_eq!(view.status, 200, "{view:?}");
        let image = format!("r.io:5000/demo/app:v2@{}", digest('a'));
        assert_eq!(view.body["image"], json!(image));
        assert_eq!(view.body["status"], "pending");
        assert_eq!(view.body["batches"][0]["pending"], 3);
        assert!(view.body["waiting_for"].is_string(), "{view:?}");

        let mut seen = BTreeSet::new();
        let mut path = format!("/rollouts/{id}/devices?limit=2&status=pending");
        loop {
            let page = api.get(&path).await;
            assert_eq!(page.status, 200, "{page:?}");
            for row in page.body["items"].as_array().unwrap() {
                assert_eq!(row["rollout_id"], json!(id));
                seen.insert(row["device_uuid"].as_str().unwrap().to_owned());
            }
            match page.body["next"].as_str() {
                Some(next) => path = format!("/rollouts/{id}/devices?limit=2&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen, devices);
        let none = api
            .get(&format!("/rollouts/{id}/devices?status=failed"))
            .await;
        assert_eq!(none.body, json!({"items": []}));

        let command = api
            .call(
                "POST",
                &format!("/rollouts/{id}/pause"),
                json!({"reason": "look"}),
            )
            .await;
        assert_eq!(command.status, 202);
        let events = api.get(&format!("/rollouts/{id}/events?limit=1")).await;
        assert_eq!(events.status, 200);
        assert_eq!(events.body["items"][0]["rollout_id"], json!(id));
        let all = api.get(&format!("/rollouts/{id}/events")).await;
        let kinds: Vec<_> = all.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["type"].as_str().unwrap())
            .collect();
        assert!(kinds.contains(&"operator.command_given"), "{kinds:?}");
    }
}

#[tokio::test]
async fn rollouts_are_listed_latest_first_and_filtered() {
    for api in apis().await {
        api.device("edge").await;
        let (first, second) = (api.rollout('a').await, api.rollout('b').await);
        let list = api.get("/rollouts").await;
        let ids: Vec<_> = list.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, [second.to_string(), first.to_string()]);
        let page = api
            .get("/rollouts?limit=1&status=pending&active=true")
            .await;
        assert_eq!(page.body["items"][0]["id"], json!(second));
        let next = page.body["next"].as_str().unwrap();
        let rest = api.get(&format!("/rollouts?limit=1&after={next}")).await;
        assert_eq!(rest.body["items"][0]["id"], json!(first));
        for path in ["/rollouts?status=paused", "/rollouts?active=false"] {
            assert_eq!(api.get(path).await.body, json!({"items": []}), "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_404_and_what_cannot_be_read_400() {
    for api in apis().await {
        let none = Uuid::now_v7();
        for path in ["", "/devices", "/events"] {
            let answer = api.get(&format!("/rollouts/{none}{path}")).await;
            assert_eq!(
                (answer.status, answer.problem()),
                (404, "not-found"),
                "{path}"
            );
        }
        for path in [
            "/rollouts/x",
            "/rollouts?limit=0",
            "/rollouts?limit=1001",
            "/rollouts?limit=x",
            "/rollouts?status=sleeping",
            "/rollouts?after=x",
            "/rollouts?colour=red",
        ] {
            let answer = api.get(path).await;
            assert_eq!(answer.status, 400, "{path} {answer:?}");
            answer.problem();
        }
    }
}
