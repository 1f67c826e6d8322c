//! `windlass up --agent` is killed in the middle of updates.

use crate::engine::{asking, run};
use crate::machine::{Machine, NETWORK, PATIENCE};
use serde_json::json;
use windlass_testkit::eventually;

/// Pushes are told of by a webhook: a look at the registry that is killed half-way is another replica's only minutes later.
const BY_WEBHOOK: [(&str, &str); 2] = [
    ("WINDLASS_WATCH_ENABLED", "false"),
    (
        "WINDLASS_WEBHOOKS_ENDPOINTS",
        r#"{"ci": {"insecure": true}}"#,
    ),
];

/// Where a container that was taken is changed.
const POINTS: [&str; 12] = [
    "after-pull",
    "within-create",
    "after-remember:2",
    "after-remember:3",
    "within-stop",
    "after-stop",
    "within-start",
    "within-start:2",
    "within-start:3",
    "after-start",
    "within-remove",
    "after-remove",
];

#[tokio::test]
async fn killed_anywhere_in_an_update_it_goes_on_and_the_name_is_where_it_belongs() {
    let mut machine = Machine::new().await;
    let mut body = asking(&machine.image, NETWORK);
    body["HostConfig"]["RestartPolicy"] = json!({"Name": "always"});
    run(&machine.engine, "web", &body).await;
    machine.start(&BY_WEBHOOK);
    machine.holds("web").await;
    machine.process().kill();
    for (number, point) in POINTS.iter().enumerate() {
        let fault = ("WINDLASS_TEST_AGENT_FAULT", *point);
        machine.start(&[&BY_WEBHOOK[..], &[fault]].concat());
        let digest = machine.push(&format!("k{number}"), &[]).await;
        machine.tell("ci", &digest).await;
        // Every one of them is on the way of every update.
        eventually(&format!("it ends at {point}"), PATIENCE, async || {
            !machine.process().runs()
        })
        .await;
        machine.start(&BY_WEBHOOK);
        let web = machine.settles("web", &digest).await;
        assert_eq!(
            web["HostConfig"]["RestartPolicy"]["Name"], "always",
            "{point}"
        );
        machine.process().kill();
    }
}
