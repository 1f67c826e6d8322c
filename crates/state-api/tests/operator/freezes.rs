use crate::harness::apis;
use serde_json::json;

#[tokio::test]
async fn a_second_press_of_stop_shows_the_first() {
    for api in apis().await {
        let first = json!({"reason": "the site is on fire"});
        let second = json!({"reason": "is it?"});
        let (one, two) = tokio::join!(
            api.call("POST", "/stop", first),
            api.call("POST", "/stop", second)
        );
        assert_eq!((one.status, two.status), (200, 200), "{one:?} {two:?}");
        assert_eq!(one.body["stop"]["id"], two.body["stop"]["id"]);
        assert_ne!(one.body["changed"], two.body["changed"]);
        assert_eq!(one.body["stop"]["state"], "in_force");
        let go = json!({"reason": "it is out"});
        let lifted = api.call("POST", "/stop/lift", go.clone()).await;
        assert_eq!(lifted.body["changed"], true, "{lifted:?}");
        assert_eq!(lifted.body["stop"]["state"], "past");
        let again = api.call("POST", "/stop/lift", go).await;
        assert_eq!((again.status, &again.body["changed"]), (200, &json!(false)));
        let past = api.get("/freezes?state=past").await;
        assert_eq!(past.body["items"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_freeze_is_checked_shown_and_lifted_once() {
    for api in apis().await {
        for (body, field) in [
            (json!({}), "reason"),
            (json!({"reason": " "}), "reason"),
            (json!({"reason": "x", "until": 1}), "until"),
            (
                json!({"reason": "x", "ends_at": "2000-01-01T00:00:00Z"}),
                "ends_at",
            ),
            (
                json!({"reason": "x", "starts_at": "2999-01-02T00:00:00Z",
                       "ends_at": "2999-01-01T00:00:00Z"}),
                "ends_at",
            ),
        ] {
            let answer = api.call("POST", "/freezes", body).await;
            assert_eq!((answer.status, answer.fields()), (400, vec![field]));
        }
        let body = json!({"reason": "holidays", "starts_at": "2999-01-01T00:00:00Z"});
        let made = api.call("POST", "/freezes", body).await;
        assert_eq!((made.status, &made.body["state"]), (201, &json!("to_come")));
        let path = format!("/freezes/{}", made.body["id"].as_str().unwrap());
        assert_eq!(api.get(&path).await.body["reason"], "holidays");
        assert_eq!(
            api.get("/freezes?state=in_force").await.body["items"],
            json!([])
        );
        let lift = format!("{path}/lift");
        for reason in ["cancelled", "again"] {
            let lifted = api.call("POST", &lift, json!({ "reason": reason })).await;
            assert_eq!(lifted.status, 200, "{lifted:?}");
            assert_eq!(lifted.body["lift_reason"], "cancelled");
        }
        let none = format!("/freezes/{}/lift", uuid::Uuid::now_v7());
        let missing = api.call("POST", &none, json!({"reason": "x"})).await;
        assert_eq!((missing.status, missing.problem()), (404, "not-found"));
    }
}
