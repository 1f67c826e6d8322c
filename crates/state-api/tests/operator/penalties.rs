use crate::harness::apis;
use chrono::TimeDelta;
use serde_json::json;
use windlass_store::penalties::{self, NewPenalty};

#[tokio::test]
async fn devices_set_aside_are_listed_and_take_part_again_when_they_are_lifted() {
    for api in apis().await {
        let mut devices = [api.device("edge").await, api.device("edge").await];
        devices.sort();
        let mut tx = api.deps.store.begin().await.unwrap();
        let until = tx.now() + TimeDelta::hours(1);
        let aside: Vec<NewPenalty> = devices
            .iter()
            .map(|device| NewPenalty {
                device: *device,
                reason: "it failed 3 good images".to_owned(),
                evidence: json!({"failures": 3}),
                until,
                times: 1,
            })
            .collect();
        penalties::add(&mut tx, &aside, "test").await.unwrap();
        api.deps.commit(tx).await.unwrap();

        let page = api.get("/penalties?limit=1").await;
        let row = &page.body["items"][0];
        assert_eq!(row["device_uuid"], json!(devices[0]), "{page:?}");
        assert_eq!(row["reason"], "it failed 3 good images");
        assert_eq!(row["evidence"], json!({"failures": 3}));
        let next = page.body["next"].as_str().unwrap();
        let rest = api.get(&format!("/penalties?after={next}")).await;
        assert_eq!(rest.body["items"][0]["device_uuid"], json!(devices[1]));
        assert_eq!(rest.body.get("next"), None);
        let odd = api.get("/penalties?after=me").await;
        assert_eq!((odd.status, odd.fields()), (400, vec!["after"]));

        let path = format!("/penalties/{}", devices[0]);
        let unsaid = api.call("DELETE", &path, json!({"reason": " "})).await;
        assert_eq!((unsaid.status, unsaid.fields()), (400, vec!["reason"]));
        let why = json!({"reason": "its disk was changed"});
        assert_eq!(api.call("DELETE", &path, why.clone()).await.status, 204);
        let again = api.call("DELETE", &path, why).await;
        assert_eq!((again.status, again.problem()), (404, "not-found"));
        let left = api.get("/penalties").await;
        assert_eq!(left.body["items"].as_array().unwrap().len(), 1);

        let mut session = api.deps.store.read().await.unwrap();
        let told: Vec<(String,)> = session
            .sql("SELECT actor FROM events WHERE type = 'device.penalty_lifted'")
            .all()
            .await
            .unwrap();
        assert_eq!(told.len(), 1);
        assert!(told[0].0.starts_with("operator:"), "{told:?}");
    }
}
