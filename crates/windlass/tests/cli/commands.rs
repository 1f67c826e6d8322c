//! Commands on devices and rollouts against a server with devices.

use crate::server::{Server, image, policy, run};
use windlass_simulator::Registry;

#[tokio::test]
async fn a_server_without_anything_answers_every_listing() {
    let server = Server::start();
    let status = server.json(&["status"]).await;
    assert_eq!(status["ready"]["status"], "ready");
    for listing in [
        &["rollouts"][..],
        &["devices"],
        &["policies"],
        &["quarantine"],
    ] {
        assert_eq!(
            server.json(listing).await,
            serde_json::json!([]),
            "{listing:?}"
        );
        assert_eq!(server.windlass(listing).await.code, 0, "{listing:?}");
    }
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    for missing in [
        &["rollouts", "show", id][..],
        &["rollouts", "watch", id],
        &["rollouts", "show", "latest"],
        &["rollouts", "show", "abcdef"],
        &["rollouts", "pause", id, "--reason", "test"],
        &["devices", "show", id],
        &["devices", "why", id],
        &["devices", "show", "no-such-name"],
        &[
            "quarantine",
            "lift",
            &format!("sha256:{}", "0".repeat(64)),
            "--reason",
            "test",
        ],
        &["keys", "revoke-provisioning", id],
    ] {
        let ended = server.windlass(missing).await;
        assert_eq!(ended.code, 3, "{missing:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_exit_code_4_and_a_provisioning_key_is_shown_once() {
    let server = Server::start();
    let url = [("WINDLASS_URL", &*server.url)];
    for key in [&[][..], &["--api-key", "wrong"]] {
        let ended = run(&[&["devices"], key].concat(), &url).await;
        assert_eq!(ended.code, 4, "{ended:?}");
        assert!(ended.stderr.contains("WINDLASS_API_KEY"), "{ended:?}");
    }
    let made = server
        .json(&[
            "keys",
            "create-provisioning",
            "--fleet",
            "quay",
            "--max-devices",
            "3",
        ])
        .await;
    assert_eq!(
        (made["fleetId"].as_str(), made["maxDevices"].as_i64()),
        (Some("quay"), Some(3))
    );
    assert!(made["key"].as_str().unwrap().len() >= 32);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        server
            .windlass(&["keys", "revoke-provisioning", id])
            .await
            .code,
        0
    );
}

#[tokio::test]
async fn the_key_is_made_at_the_first_start_only_and_its_file_is_for_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let mut server = Server::start();
    let file = server.file("note", "");
    let key = file.with_file_name("key");
    assert_eq!(
        std::fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    std::fs::remove_file(&key).unwrap();
    server.kill();
    server.restart();
    assert!(!key.exists(), "a second start makes no key");
    assert_eq!(
        server.windlass(&["status"]).await.code,
        0,
        "the first key still opens"
    );
}

#[tokio::test]
async fn a_trigger_goes_to_its_devices_and_can_be_watched_paused_and_refused() {
    let server = Server::start();
    let registry = server.registry();
    let v1 = registry.push("demo/web", "v1", "one").await.unwrap();
    let devices = server.devices(8, &image(&registry, "v1", &v1)).await;
    let v2 = Registry::digest_of("two").unwrap();
    let v2 = image(&registry, "v2", &v2);

    let plan = server
        .json(&[
            "trigger",
            &v2,
            "--dry-run",
            "--fleet",
            "quay",
            "--batches",
            "1,50%,100%",
        ])
        .await;
    assert_eq!(plan["total_devices"], 8);
    assert_eq!(plan["batches"].as_array().unwrap().len(), 3);
    assert_eq!(server.json(&["rollouts"]).await, serde_json::json!([]));

    // A long delay, so that it is under way when it is paused.
    let trigger = server
        .json(&[
            "trigger",
            &v2,
            "--batches",
            "1,100%",
            "--delay",
            "3600",
            "--reason",
            "a test",
        ])
        .await;
    assert_eq!(trigger["decision"], "rollout", "{trigger}");
    let id = trigger["rollout"]["id"].as_str().unwrap().to_owned();
    let paused = server
        .json(&["rollouts", "pause", &id, "--reason", "look first"])
        .await;
    assert_eq!(paused["rollout"]["status"], "paused", "{paused}");
    let watched = server.windlass(&["rollouts", "watch", "latest"]).await;
    assert_eq!(watched.code, 1, "a pause ends the watch: {watched:?}");
    let shown = server.json(&["rollouts", "show", &id[28..]]).await;
    assert_eq!(shown["id"], id.as_str(), "the end of an id is enough");
    assert_eq!(
        server
            .windlass(&["rollouts", "resume", &id, "--reason", "go on"])
            .await
            .code,
        0
    );
    let ended = server
        .json(&["rollouts", "cancel", &id, "--reason", "enough"])
        .await;
    assert_eq!(ended["rollout"]["status"], "cancelled", "{ended}");
    let late = server
        .windlass(&["rollouts", "resume", &id, "--reason", "too late"])
        .await;
    assert_eq!(late.code, 4, "an ended rollout takes no command: {late:?}");
    assert_eq!(server.windlass(&["rollouts", "watch", &id]).await.code, 1);

    // Nobody is in that fleet.
    let nobody = server.windlass(&["trigger", &v2, "--fleet", "moon"]).await;
    assert_eq!(nobody.code, 3, "{nobody:?}");
    devices.shutdown().await;
}

#[tokio::test]
async fn a_push_is_watched_to_its_end_and_everything_can_be_read_afterwards() {
    let server = Server::start();
    let registry = server.registry();
    let v1 = registry.push("demo/web", "v1", "one").await.unwrap();
    let devices = server.devices(5, &image(&registry, "v1", &v1)).await;
    let file = server.file("policy.toml", &policy(&registry, "web"));
    server
        .json(&["policies", "apply", "-f", file.to_str().unwrap()])
        .await;
    let v2 = registry.push("demo/web", "v2", "two").await.unwrap();
    let client = server.client();
    windlass_testkit::eventually("a rollout is there", crate::server::PATIENCE, async || {
        !client
            .rollouts(&windlass_client::RolloutQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
    let watched = server
        .windlass(&["rollouts", "watch", "latest", "--timeout", "60"])
        .await;
    assert_eq!(watched.code, 0, "{watched:?}");
    assert!(
        watched.stdout.lines().last().unwrap().contains("5 healthy"),
        "{watched:?}"
    );
    assert_eq!(devices.count_running("web", v2.as_str()), 5);

    let shown = server.json(&["rollouts", "show", "latest"]).await;
    assert_eq!(shown["status"], "completed");
    let uuid = devices.uuids().first().unwrap().to_string();
    let device = server.json(&["devices", "show", &uuid]).await;
    assert_eq!(device["target"]["version"], 3);
    let image = device["current"]["observation"]["services"][0]["image"].as_str();
    assert!(image.unwrap().contains(v2.as_str()), "{device}");
    assert!(
        !server.json(&["devices", "why", &uuid[..8]]).await["sentences"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    for people in [
        &["status"][..],
        &["rollouts", "show", "latest"],
        &["devices", "show", "quay-00"],
        &["devices", "why", "quay-00"],
    ] {
        let ended = server.windlass(people).await;
        assert_eq!(ended.code, 0, "{people:?}: {ended:?}");
        assert!(!ended.stdout.is_empty());
    }
    let events = server
        .windlass(&["events", "--rollout", "latest", "--json"])
        .await;
    let types: Vec<String> = events
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect();
    let count = |wanted: &str| types.iter().filter(|kind| *kind == wanted).count();
    assert_eq!(count("image.rollout_completed"), 1, "{types:?}");
    assert_eq!(count("device.image_update_scheduled"), 5, "{types:?}");
    devices.shutdown().await;
}

#[tokio::test]
async fn a_tag_is_resolved_at_its_registry_before_it_ships() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = Registry::start(listener, None).unwrap();
    let server = Server::configured(&format!(
        "[registry]\nhttp_hosts = [\"{}\"]\n",
        registry.host()
    ));
    let v1 = registry.push("demo/web", "v1", "one").await.unwrap();
    let devices = server.devices(3, &image(&registry, "v1", &v1)).await;
    let v2 = registry.push("demo/web", "v2", "two").await.unwrap();
    let tag = format!("{}/demo/web:v2", registry.host());
    let trigger = server.json(&["trigger", &tag, "--strategy", "auto"]).await;
    assert_eq!(trigger["rollout"]["digest"], v2.as_str(), "{trigger}");
    windlass_testkit::eventually("the digest runs", crate::server::PATIENCE, async || {
        devices.count_running("web", v2.as_str()) == 3
    })
    .await;
    devices.shutdown().await;
}
