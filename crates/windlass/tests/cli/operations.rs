//! What operators do to rollouts, policies and devices from the command line.

use crate::server::{PATIENCE, Server, image};
use serde_json::json;
use windlass_testkit::eventually;

const POLICY: &str = "name = \"one\"\nimage = \"r.example/demo/*\"\nstrategy = \"auto\"\n";
const RULE: &str = "strategy = \"staged\"\nbatches = [{ count = 1 }, { percent = 100 }]\n\
                    batch_delay_seconds = 3600\n\
                    [approval]\nbefore = \"each_batch\"\n\
                    [health]\nstable_window_seconds = 1\ndeadline_seconds = 60\n";

#[tokio::test]
async fn freezes_are_planned_and_lifted_and_the_stop_is_pressed_once() {
    let server = Server::start();
    for listing in [&["freezes"][..], &["penalties"], &["penalties", "list"]] {
        assert_eq!(server.json(listing).await, json!([]), "{listing:?}");
        assert_eq!(server.windlass(listing).await.code, 0, "{listing:?}");
    }
    let made = server
        .json(&[
            "freezes",
            "add",
            "--from",
            "2999-12-20T00:00:00Z",
            "--until",
            "2999-12-27T00:00:00Z",
            "--reason",
            "holidays",
        ])
        .await;
    assert_eq!(made["state"], "to_come", "{made}");
    let id = made["id"].as_str().unwrap();
    let shown = server.windlass(&["freezes", "list"]).await;
    assert!(shown.stdout.contains(id), "{shown:?}");
    let lifted = server
        .json(&["freezes", "lift", id, "--reason", "cancelled"])
        .await;
    assert_eq!(lifted["state"], "past", "{lifted}");
    let past = server.json(&["freezes", "list", "--state", "past"]).await;
    assert_eq!(past.as_array().unwrap().len(), 1);
    let wrong = server
        .windlass(&[
            "freezes",
            "add",
            "--until",
            "2000-01-01T00:00:00Z",
            "--reason",
            "late",
        ])
        .await;
    assert_eq!(wrong.code, 4, "{wrong:?}");
    assert!(wrong.stderr.contains("ends_at"), "{wrong:?}");

    for (press, changed) in [("stop", true), ("stop", false), ("go", true), ("go", false)] {
        let pressed = server.json(&[press, "--reason", "a drill"]).await;
        assert_eq!(pressed["changed"], changed, "{press}: {pressed}");
    }
    for press in ["stop", "go"] {
        let said = server.windlass(&[press, "--reason", "a drill"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.stdout.contains("rollouts"), "{said:?}");
    }
    assert_eq!(
        server.windlass(&["stop"]).await.code,
        2,
        "it wants a reason"
    );
}

#[tokio::test]
async fn policies_are_switched_and_tried_and_what_is_not_there_is_exit_code_3() {
    let server = Server::start();
    let file = server.file("one.toml", POLICY);
    server
        .json(&["policies", "apply", "-f", file.to_str().unwrap()])
        .await;
    let off = ["policies", "disable", "one", "--reason", "for now"];
    assert_eq!(server.json(&off).await["enabled"], false);
    let image = "r.example/demo/app:v1";
    let all = server.json(&["policies", "test", image]).await;
    assert_eq!(all["policies"][0]["mismatch"], "it is switched off");
    let on = ["policies", "enable", "one", "--reason", "again"];
    assert_eq!(server.json(&on).await["enabled"], true);
    let one = ["policies", "test", image, "--policy", "one"];
    assert_eq!(server.json(&one).await["policies"][0]["matches"], true);
    let said = server.windlass(&one).await;
    assert!(said.code == 0 && said.stdout.contains("one"), "{said:?}");

    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let why = ["--reason", "test"];
    for missing in [
        &["policies", "enable", "two"][..],
        &["policies", "disable", "two"],
        &["plans", "apply", id],
        &["freezes", "lift", id],
        &["unhold", id],
        &["hold", "two"],
        &["penalties", "lift", id],
        &["devices", "delete", id],
        &["rollouts", "approve", id],
        &["rollouts", "next-batch", id],
        &["rollouts", "retry", id],
        &["rollouts", "override-freeze", id],
        &["rollouts", "rollback", id, "--batch", "1"],
    ] {
        let ended = server.windlass(&[missing, &why].concat()).await;
        assert_eq!(ended.code, 3, "{missing:?}: {ended:?}");
    }
    let shown = server.windlass(&["plans", "show", id]).await;
    assert_eq!(shown.code, 3, "{shown:?}");
    let digest = format!("sha256:{}", "0".repeat(64));
    let class = ["quarantine", "lift", &digest, "--tag", "model=pi4"];
    let ended = server.windlass(&[&class[..], &why].concat()).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.contains("model=pi4"), "{ended:?}");
}

#[tokio::test]
async fn a_plan_is_shipped_approved_hurried_put_back_and_a_device_deleted() {
    let server = Server::start();
    let registry = server.registry();
    let v1 = registry.push("demo/web", "v1", "one").await.unwrap();
    let devices = server.devices(4, &image(&registry, "v1", &v1)).await;
    let digest = registry.push("demo/web", "v2", "two").await.unwrap();
    let v2 = image(&registry, "v2", &digest);
    let rule = server.file("rule.toml", RULE);
    let dry = [
        "trigger",
        &v2,
        "--dry-run",
        "--rule",
        rule.to_str().unwrap(),
    ];
    let plan = server.json(&dry).await;
    let id = plan["plan_id"].as_str().unwrap();
    let shown = server.json(&["plans", "show", id]).await;
    assert_eq!(shown["plan"]["batches"], plan["batches"]);
    let said = server.windlass(&["plans", "show", id]).await;
    assert!(said.stdout.contains("plans apply"), "{said:?}");

    let why = ["--reason", "as agreed"];
    let order = async |words: &[&str]| {
        let done = server.json(&[&["rollouts"], words, &why].concat()).await;
        done["command"]["outcome"].as_str().unwrap().to_owned()
    };
    server.json(&["stop", "--reason", "not yet"]).await;
    let applied = server.json(&["plans", "apply", id, "--reason", "go"]).await;
    assert_eq!(applied["decision"], "rollout", "{applied}");
    assert_eq!(
        order(&["approve", "latest", "--batch", "1"]).await,
        "applied"
    );
    assert_eq!(order(&["override-freeze", "latest"]).await, "applied");
    server.json(&["go", "--reason", "now"]).await;
    let stale = ["rollouts", "pause", "latest", "--if-version", "1"];
    let stale = server.windlass(&[&stale[..], &why].concat()).await;
    assert_eq!(stale.code, 4, "{stale:?}");

    let next = ["rollouts", "next-batch", "latest", "--reason", "it is good"];
    eventually("batch 1 to be done", PATIENCE, async || {
        server.windlass(&next).await.code == 0
    })
    .await;
    assert_eq!(order(&["retry", "latest"]).await, "no_change");
    assert_eq!(order(&["approve", "latest"]).await, "applied");
    let watched = server
        .windlass(&["rollouts", "watch", "latest", "--timeout", "80"])
        .await;
    assert_eq!(watched.code, 0, "{watched:?}");
    let late = server
        .windlass(&[
            "rollouts", "retry", "latest", "--device", "quay-00", "--reason", "x",
        ])
        .await;
    assert_eq!(late.code, 4, "an ended rollout takes no retry: {late:?}");

    assert_eq!(order(&["rollback", "latest", "quay-00"]).await, "applied");
    assert_eq!(order(&["rollback", "latest", "--all"]).await, "applied");
    eventually("every device to be back", PATIENCE, async || {
        devices.count_running("web", v1.as_str()) == 4
    })
    .await;

    let gone = ["devices", "delete", "quay-03", "--reason", "sold"];
    assert_eq!(server.json(&gone).await["action"], "deleted");
    assert_eq!(server.windlass(&gone).await.code, 3);
    let left = server.json(&["devices"]).await;
    assert_eq!(left.as_array().unwrap().len(), 3);
    devices.shutdown().await;
}
