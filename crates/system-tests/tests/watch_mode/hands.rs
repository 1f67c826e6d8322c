//! What a person does to a container stands.

use crate::engine::{asking, inspect, names, post, remove, run, stop};
use crate::machine::{Machine, NETWORK, PATIENCE};
use serde_json::{Value, json};
use windlass_testkit::eventually;

#[tokio::test]
async fn what_is_stopped_removed_or_made_anew_by_hand_is_let_go_or_taken_anew() {
    let mut machine = Machine::new().await;
    run(&machine.engine, "web", &asking(&machine.image, NETWORK)).await;
    run(&machine.engine, "other", &asking(&machine.image, NETWORK)).await;
    machine.start(&[]);
    machine.holds("web").await;
    machine.holds("other").await;

    // Stopped, it is nobody's.
    stop(&machine.engine, "web").await;
    let let_go = async |name: &'static str| {
        eventually(&format!("{name} is let go"), PATIENCE, async || {
            !machine.targets(name).await
        })
        .await;
    };
    let_go("web").await;
    let second = machine.push("2", &[]).await;
    machine.settles("other", &second).await;
    let web = inspect(&machine.engine, "web").await;
    assert_eq!(web["State"]["Running"], json!(false));
    let failed = machine.status().await;
    assert!(!failed["waits"].to_string().contains("web"), "{failed}");

    // Started again, it is taken again; what was pushed meanwhile it gets with what is pushed next.
    post(&machine.engine, "/containers/web/start", &Value::Null).await;
    machine.holds("web").await;
    let third = machine.push("3", &[]).await;
    machine.settles("web", &third).await;
    machine.settles("other", &third).await;

    // Made anew with other settings, it is taken anew with these.
    remove(&machine.engine, "web").await;
    let mut other = asking(&machine.image, NETWORK);
    other["Env"] = json!(["CHANGED=yes"]);
    let by_hand = run(&machine.engine, "web", &other).await;
    eventually("the new one is held", PATIENCE, async || {
        let status = machine.status().await;
        status.to_string().contains(&by_hand) && machine.targets("web").await
    })
    .await;
    let fourth = machine.push("4", &[]).await;
    let updated = machine.settles("web", &fourth).await;
    assert!(
        updated["Config"]["Env"].to_string().contains("CHANGED=yes"),
        "{updated}"
    );
    machine.settles("other", &fourth).await;

    // Removed, it is not made anew; without its label, it is left alone.
    remove(&machine.engine, "web").await;
    let_go("web").await;
    remove(&machine.engine, "other").await;
    let mut unlabelled = asking(&machine.image, NETWORK);
    unlabelled["Labels"] = json!({});
    let left = run(&machine.engine, "other", &unlabelled).await;
    let_go("other").await;
    eventually("no policy is left", PATIENCE, async || {
        machine.policies().await.is_empty()
    })
    .await;
    assert_eq!(names(&machine.engine).await, ["other"]);
    assert_eq!(inspect(&machine.engine, "other").await["Id"], json!(left));
}
