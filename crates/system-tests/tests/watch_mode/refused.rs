//! What asks to be taken and is not, is told why and left alone.

use crate::engine::{asking, inspect, names, pull, run};
use crate::machine::{Machine, NETWORK, PATIENCE};
use serde_json::json;
use windlass_testkit::eventually;

#[tokio::test]
async fn what_cannot_be_followed_is_left_alone_and_told_why() {
    let mut machine = Machine::new().await;
    let image = &machine.image;
    let engine = &machine.engine;
    let mut label = asking(image, NETWORK);
    label["Labels"]["windlass.update"] = json!("soon");
    run(engine, "soon", &label).await;
    let mut policy = asking(image, NETWORK);
    policy["Labels"]["windlass.policy"] = json!("nobody wrote it");
    run(engine, "policy", &policy).await;
    let mut once = asking(image, NETWORK);
    once["HostConfig"]["AutoRemove"] = json!(true);
    run(engine, "once", &once).await;
    let lender = run(engine, "lender", &asking(image, NETWORK)).await;
    let mut guest = asking(image, &format!("container:{lender}"));
    guest["Labels"] = json!({});
    run(engine, "guest", &guest).await;
    let sharer = run(engine, "sharer", &asking(image, NETWORK)).await;
    let mut peeper = asking(image, NETWORK);
    peeper["Labels"] = json!({});
    peeper["HostConfig"]["PidMode"] = json!(format!("container:{sharer}"));
    run(engine, "peeper", &peeper).await;
    let mut started = Vec::new();
    let all = names(engine).await;
    for name in &all {
        started.push(inspect(engine, name).await["State"]["StartedAt"].clone());
    }
    let followed = format!("{}/demo/control:stable", machine.registry.host);
    machine
        .registry
        .push_app("demo/control", "stable", &[("APP_BUILD", "1")])
        .await;
    pull(&machine.engine, &followed).await;
    run(&machine.engine, "control", &asking(&followed, NETWORK)).await;
    machine.start(&[]);
    let reasons = [
        "soon: windlass.update is \\\"soon\\\"; it is auto or manual",
        "policy: windlass.policy: there is no policy \\\"nobody wrote it\\\"",
        "once: it was started with --rm",
        "lender: guest uses its network",
        "sharer: peeper uses its processes",
    ];
    eventually("each is told why", PATIENCE, async || {
        let told = machine.status().await["picture"]["left_alone"].to_string();
        reasons.iter().all(|reason| told.contains(reason))
    })
    .await;
    machine.push("2", &[]).await;
    eventually("the one without a policy is held", PATIENCE, async || {
        machine.targets("policy").await
    })
    .await;
    machine.holds("control").await;
    let pushed = machine
        .registry
        .push_app("demo/control", "stable", &[("APP_BUILD", "2")])
        .await;
    let (_, digest) = pushed.split_once('@').unwrap();
    machine.settles("control", digest).await;
    assert_eq!(machine.policies().await, [format!("local/{followed}")]);
    for (name, started) in all.iter().zip(started) {
        let now = inspect(&machine.engine, name).await;
        assert_eq!(now["State"]["StartedAt"], started, "{name}");
    }
}
