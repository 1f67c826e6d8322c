//! Keys of operators.

use crate::harness::apis;
use serde_json::json;

#[tokio::test]
async fn another_operator_acts_under_their_own_name_until_their_key_is_revoked() {
    for api in apis().await {
        let made = api
            .call("POST", "/operator-keys", json!({"name": "ann"}))
            .await;
        assert_eq!(made.status, 201, "{made:?}");
        let key = made.body["key"].as_str().unwrap().to_owned();
        let id = made.body["id"].as_str().unwrap().to_owned();
        let of_ann = |path: &str| api.request_by(&key, "GET", path);

        let again = api
            .call("POST", "/operator-keys", json!({"name": "ann"}))
            .await;
        assert_eq!(again.status, 409, "{again:?}");
        for name in ["", "a b", "-ann", "configured", &"x".repeat(65)] {
            let refused = api
                .call("POST", "/operator-keys", json!({"name": name}))
                .await;
            let expected = if name == "configured" { 409 } else { 400 };
            assert_eq!(refused.status, expected, "{name:?}: {refused:?}");
        }

        let listed = api.send(of_ann("/operator-keys")).await;
        assert_eq!(listed.status, 200, "{listed:?}");
        assert!(listed.body.to_string().contains("ann"));
        assert!(!listed.body.to_string().contains(&key), "{listed:?}");

        for _ in 0..2 {
            let path = format!("/operator-keys/{id}");
            let revoked = api.send(api.request("DELETE", &path)).await;
            assert_eq!(revoked.status, 204, "{revoked:?}");
        }
        let shut = api.send(of_ann("/operator-keys")).await;
        assert_eq!(shut.status, 401, "{shut:?}");
        let unknown = api
            .send(api.request(
                "DELETE",
                "/operator-keys/01890000-0000-7000-8000-000000000000",
            ))
            .await;
        assert_eq!(unknown.status, 404, "{unknown:?}");
    }
}
