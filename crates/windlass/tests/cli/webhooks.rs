//! Deliveries from the command line.

use crate::server::Server;
use serde_json::json;

#[tokio::test]
async fn deliveries_are_listed_shown_read_again_and_tried_out() {
    let server = Server::start();
    assert_eq!(server.json(&["webhooks"]).await, json!([]));
    let health = server.json(&["webhooks", "health", "--days", "3"]).await;
    let endpoint = health[0]["endpoint"].as_str().unwrap().to_owned();
    assert_eq!(health[0]["received"], 0, "{health}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delivery.json");
    let file = path.to_str().unwrap();
    std::fs::write(&path, r#"{"image": "r.example/demo/web:v2"}"#).unwrap();
    let tried = server
        .json(&["webhooks", "test", &endpoint, "--file", file])
        .await;
    assert_eq!(tried["sender"], "generic", "{tried}");
    assert_eq!(tried["images"][0]["tag"], "v2");
    let header = ["--header", "x-github-event: ping"];
    let shown = server
        .windlass(
            &[
                &["webhooks", "test", &endpoint, "--file", file][..],
                &header,
            ]
            .concat(),
        )
        .await;
    assert_eq!(shown.stdout, "from ghcr: ignored (ping)\n", "{shown:?}");
    std::fs::write(&path, "{").unwrap();
    let wrong = server
        .windlass(&["webhooks", "test", &endpoint, "--file", file])
        .await;
    assert_eq!(wrong.code, 1, "{wrong:?}");
    assert!(wrong.stdout.contains("rejected"), "{wrong:?}");
    let nowhere = server
        .windlass(&["webhooks", "test", "nowhere", "--file", file])
        .await;
    assert_eq!(nowhere.code, 3, "{nowhere:?}");
    let missing = server
        .windlass(&["webhooks", "test", &endpoint, "--file", "/nowhere"])
        .await;
    assert_eq!(missing.code, 2, "{missing:?}");

    let body = r#"{"image": "r.example/demo/web:v3"}"#;
    server.deliver(&endpoint, body).await;
    let all = server
        .json(&["webhooks", "list", "--decision", "accepted"])
        .await;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    let id = all[0]["delivery_id"].as_str().unwrap();
    let none = server
        .json(&["webhooks", "list", "--repository", "r.example/demo/other"])
        .await;
    assert_eq!(none, json!([]));
    let shown = server.windlass(&["webhooks", "list"]).await;
    assert!(shown.stdout.contains("r.example/demo/web:v3"), "{shown:?}");
    let shown = server.windlass(&["webhooks", "show", id]).await;
    assert!(shown.stdout.contains("accepted from generic"), "{shown:?}");
    let raw = server.windlass(&["webhooks", "show", id, "--body"]).await;
    assert_eq!(raw.stdout, body);
    let replayed = server.windlass(&["webhooks", "replay", id]).await;
    assert!(replayed.stdout.contains("nothing new"), "{replayed:?}");
    let unknown = "00000000-0000-0000-0000-000000000000";
    assert_eq!(
        server.windlass(&["webhooks", "replay", unknown]).await.code,
        3
    );
    let health = server.windlass(&["webhooks", "health"]).await;
    assert!(health.stdout.contains(&endpoint), "{health:?}");
}
