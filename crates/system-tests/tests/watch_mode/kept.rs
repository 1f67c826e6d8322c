//! What stays as it is through updates, and what goes.

use crate::engine::{api, asking, get, inspect, post, pull, run, stop};
use crate::machine::{Machine, NETWORK, PATIENCE};
use serde_json::{Value, json};
use windlass_testkit::eventually;

#[tokio::test]
async fn an_old_container_that_is_kept_beside_a_new_one_stays() {
    let mut machine = Machine::new().await;
    run(&machine.engine, "web", &asking(&machine.image, NETWORK)).await;
    machine.start(&[]);
    machine.holds("web").await;
    let second = machine.push("2", &[]).await;
    let old = machine.settles("web", &second).await;

    stop(&machine.engine, "web").await;
    post(
        &machine.engine,
        "/containers/web/rename?name=backup",
        &Value::Null,
    )
    .await;
    let by_hand = run(&machine.engine, "web", &asking(&machine.image, NETWORK)).await;
    eventually("the new one is held", PATIENCE, async || {
        machine.book().to_string().contains(&by_hand) && machine.targets("web").await
    })
    .await;
    let third = machine.push("3", &[]).await;
    machine.settles("web", &third).await;
    let backup = inspect(&machine.engine, "backup").await;
    assert_eq!(backup["Id"], old["Id"], "{backup}");
    assert_eq!(backup["State"]["StartedAt"], old["State"]["StartedAt"]);
}

#[tokio::test]
async fn a_container_that_was_put_into_another_network_is_in_no_other_after_an_update() {
    let mut machine = Machine::new().await;
    run(&machine.engine, "web", &asking(&machine.image, NETWORK)).await;
    let network = json!({"Name": "vault", "Driver": "bridge"});
    post(&machine.engine, "/networks/create", &network).await;
    let web = json!({"Container": "web", "EndpointConfig": {"Aliases": ["safe"]}});
    post(&machine.engine, "/networks/vault/connect", &web).await;
    let home = format!("/networks/{NETWORK}");
    post(&machine.engine, &format!("{home}/disconnect"), &web).await;
    api(&machine.engine, "DELETE", &home, &Value::Null).await;
    machine.start(&[]);
    machine.holds("web").await;
    let second = machine.push("2", &[]).await;
    let updated = machine.settles("web", &second).await;
    let networks = updated["NetworkSettings"]["Networks"].as_object().unwrap();
    assert_eq!(Vec::from_iter(networks.keys()), ["vault"]);
    let aliases = networks["vault"]["Aliases"].to_string();
    assert!(aliases.contains("safe"), "{aliases}");
}

#[tokio::test]
async fn a_check_that_the_engine_asks_late_is_waited_for() {
    let mut machine = Machine::new().await;
    let mut body = asking(&machine.image, NETWORK);
    // Later than the agent's own deadline here.
    body["Healthcheck"] = json!({"Test": ["CMD", "/app", "ok"], "Interval": 15_000_000_000_u64});
    run(&machine.engine, "web", &body).await;
    machine.start(&[]);
    machine.holds("web").await;
    let second = machine.push("2", &[]).await;
    let updated = machine.settles("web", &second).await;
    assert_eq!(updated["State"]["Health"]["Status"], "healthy", "{updated}");
}

#[tokio::test]
async fn of_versions_that_shipped_the_images_go_that_nobody_runs_any_more() {
    let mut machine = Machine::new().await;
    let repository = format!("{}/demo/versions", machine.registry.host);
    let mut digests = Vec::new();
    machine
        .registry
        .push_app("demo/versions", "1.0.0", &[])
        .await;
    pull(&machine.engine, &format!("{repository}:1.0.0")).await;
    let mut body = asking(&format!("{repository}:1.0.0"), NETWORK);
    body["Labels"]["windlass.versions"] = json!(">=1");
    run(&machine.engine, "web", &body).await;
    machine.start(&[]);
    machine.holds("web").await;
    for tag in ["1.1.0", "1.2.0", "1.3.0"] {
        let image = machine.registry.push_app("demo/versions", tag, &[]).await;
        let (_, digest) = image.split_once('@').unwrap();
        machine.settles("web", digest).await;
        digests.push(digest.to_owned());
    }
    eventually("images that nobody needs are gone", PATIENCE, async || {
        let images = get(&machine.engine, "/images/json").await.to_string();
        let there = digests.iter().map(|digest| images.contains(digest));
        Vec::from_iter(there) == [false, false, true]
    })
    .await;
}
