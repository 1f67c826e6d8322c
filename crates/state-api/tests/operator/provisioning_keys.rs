use crate::harness::apis;
use serde_json::json;
use std::time::Duration;
use windlass_store::events;
use windlass_testkit::eventually;
use windlass_types::event::{Cursor, EventType};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn who_made_and_who_revoked_a_key_is_in_the_log_and_the_key_is_not() {
    for api in apis().await {
        let body = json!({"fleetId": "edge", "maxDevices": 10, "description": "the new shop"});
        let made = api.call("POST", "/provisioning-keys", body).await;
        assert_eq!(made.status, 201, "{made:?}");
        let (id, key) = (
            made.body["id"].as_str().unwrap(),
            made.body["key"].as_str().unwrap(),
        );
        // The second time there is nothing left to revoke.
        for _ in 0..2 {
            let path = format!("/provisioning-keys/{id}");
            let revoked = api.send(api.request("DELETE", &path)).await;
            assert_eq!(revoked.status, 204, "{revoked:?}");
        }
        let mut session = api.deps.store.read().await.unwrap();
        // Transactions of other tests on the same server may hold events back for a moment.
        let mut log = Vec::new();
        eventually("both events are settled", PATIENCE, async || {
            log = events::after(&mut session, Cursor::default(), 100)
                .await
                .unwrap();
            log.len() >= 2
        })
        .await;
        let kinds: Vec<_> = log.iter().map(|event| event.kind).collect();
        assert_eq!(
            kinds,
            [
                EventType::ProvisioningKeyCreated,
                EventType::ProvisioningKeyRevoked
            ]
        );
        for event in &log {
            assert_eq!(event.actor, "operator:configured");
            assert_eq!(event.subject.as_deref(), Some(id));
            let text = serde_json::to_string(event).unwrap();
            assert!(!text.contains(key), "{text}");
        }
        assert_eq!(log[0].data["fleet"], "edge");
        assert_eq!(log[0].data["description"], "the new shop");
    }
}
