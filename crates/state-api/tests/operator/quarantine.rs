use crate::harness::{apis, digest};
use serde_json::json;
use windlass_store::quarantine::{self, Class};

#[tokio::test]
async fn a_quarantine_of_one_class_is_shown_with_it_and_lifted_alone() {
    for api in apis().await {
        let id = api.rollout('a').await;
        let digest = digest('a');
        let mut tx = api.deps.store.begin().await.unwrap();
        for value in ["pi 4", "pi 5"] {
            let class = Class {
                key: "model".to_owned(),
                value: value.to_owned(),
            };
            quarantine::add_for_class(
                &mut tx,
                &digest.parse().unwrap(),
                &class,
                &"r.io:5000/demo/app".parse().unwrap(),
                id,
                "3 of 5 failed",
                json!({"failed": 3}),
            )
            .await
            .unwrap();
        }
        api.deps.commit(tx).await.unwrap();

        let page = api.get("/quarantine?limit=1").await;
        let first = &page.body["items"][0];
        assert_eq!(
            (&first["tag_key"], &first["tag_value"]),
            (&json!("model"), &json!("pi 4"))
        );
        let next = page.body["next"].as_str().unwrap();
        let rest = api
            .send(api.request("GET", "/quarantine").query(&[("after", next)]))
            .await;
        assert_eq!(rest.body["items"][0]["tag_value"], "pi 5", "{rest:?}");

        let why = json!({"reason": "a false alarm"});
        let lift = async |query: &[(&str, &str)]| {
            let request = api.request("DELETE", &format!("/quarantine/{digest}"));
            api.send(request.query(query).json(&why)).await
        };
        for (query, field) in [
            (&[("tag_key", "model")][..], "tag_value"),
            (&[("tag_value", "pi 4")], "tag_key"),
            (&[("tag_key", ""), ("tag_value", "pi 4")], "tag_key"),
        ] {
            let half = lift(query).await;
            assert_eq!((half.status, half.fields()), (400, vec![field]));
        }
        assert_eq!(lift(&[("tag", "model")]).await.status, 400);
        let other = lift(&[("tag_key", "model"), ("tag_value", "pi 3")]).await;
        assert_eq!((other.status, other.problem()), (404, "not-found"));
        let four = [("tag_key", "model"), ("tag_value", "pi 4")];
        assert_eq!(lift(&four).await.status, 204);
        assert_eq!(lift(&four).await.status, 404);
        let left = api.get("/quarantine").await;
        assert_eq!(left.body["items"].as_array().unwrap().len(), 1);
        // Without a class it is lifted for everybody.
        assert_eq!(lift(&[]).await.status, 204);
        assert_eq!(api.get("/quarantine").await.body["items"], json!([]));
    }
}
