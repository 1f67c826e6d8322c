//! `windlass why`, of devices, rollouts and images.

use crate::server::{Server, image};
use windlass_simulator::Registry;

#[tokio::test]
async fn why_tells_devices_rollouts_and_images_apart() {
    let server = Server::start();
    let registry = server.registry();
    let v1 = registry.push("demo/web", "v1", "one").await.unwrap();
    let devices = server.devices(4, &image(&registry, "v1", &v1)).await;
    let v2 = image(&registry, "v2", &Registry::digest_of("two").unwrap());

    let uuid = devices.uuids().first().unwrap().to_string();
    for device in [&uuid[..], "quay-00"] {
        let why = server.json(&["why", device]).await;
        let codes: Vec<&str> = why["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|reason| reason["code"].as_str().unwrap())
            .collect();
        assert!(codes.contains(&"no_policies"), "{device}: {codes:?}");
        assert!(codes.contains(&"target_by_person"), "{device}: {codes:?}");
    }

    let never = server.json(&["why", v2.as_str()]).await;
    assert_eq!(never["reasons"][0]["code"], "never_pushed", "{never}");

    // Approval first, so that it stays where it is.
    let made = server
        .json(&["trigger", v2.as_str(), "--strategy", "manual"])
        .await;
    let id = made["rollout"]["id"].as_str().unwrap();
    for rollout in [id, "latest", &id[24..]] {
        let why = server.json(&["why", rollout]).await;
        assert_eq!(why["waiting_for"]["code"], "approval", "{rollout}: {why}");
    }
    let device = server.json(&["why", &uuid]).await;
    let reasons = device["reasons"].as_array().unwrap();
    assert!(
        reasons.iter().any(|one| one["code"] == "approval"),
        "{device}"
    );

    let people = server.windlass(&["why", &uuid]).await;
    assert_eq!(people.code, 0, "{people:?}");
    for part in [
        "The device waits in batch",
        "waits for a person's approval",
        "Approve it.",
    ] {
        assert!(people.stdout.contains(part), "{part}: {people:?}");
    }
    let none = server
        .windlass(&["why", "01890a5d-ac96-774b-bcce-b302099a8057"])
        .await;
    assert_eq!(none.code, 3, "{none:?}");
    let wrong = server.windlass(&["why", "a//b:c"]).await;
    assert_eq!(wrong.code, 4, "{wrong:?}");
}
