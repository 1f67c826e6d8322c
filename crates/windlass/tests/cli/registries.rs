//! What is looked at for pushes that no webhook told of, and webhooks that were missed.

use crate::server::{PATIENCE, Server};
use serde_json::{Value, json};
use windlass_testkit::{Registry, eventually};

#[tokio::test]
async fn registries_show_what_was_found_and_missed_and_what_may_still_be_asked() {
    let mut registry = Registry::start(&[]).await;
    let one = registry.push("demo/web", "v1", "one").await;
    let host = registry.host.clone();
    let server = Server::configured(&format!(
        "[registry]\nhttp_hosts = [{host:?}]\n[watch]\ninterval_seconds = 1\n\
         interval_with_webhooks_seconds = 1\ngrace_seconds = 0\n"
    ));
    let said = async |arguments: &[&str]| {
        let ended = server.windlass(arguments).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.stdout
    };
    let nothing = said(&["registries"]).await;
    assert!(nothing.contains("no repository is looked at"), "{nothing}");
    let nothing = said(&["registries", "limits"]).await;
    assert!(nothing.contains("no registry was asked yet"), "{nothing}");
    let shown = server.json(&["registries"]).await;
    assert_eq!(shown["repositories"], json!([]), "{shown}");

    let policy = format!("name = \"web\"\nimage = \"{host}/demo/web\"\nstrategy = \"auto\"\n");
    let file = server.file("policy.toml", &policy);
    said(&["policies", "apply", "-f", file.to_str().unwrap()]).await;
    let until = async |what: &str, is: &dyn Fn(&Value) -> bool| {
        let mut last = Value::Null;
        eventually(what, PATIENCE, async || {
            last = server.json(&["registries"]).await["repositories"][0].clone();
            is(&last)
        })
        .await;
        last
    };
    until("it is looked at", &|shown| shown["looked_at"].is_string()).await;
    // A webhook tells of one push, and none of the next.
    let told = json!({"image": format!("{host}/demo/web:v1@{one}")});
    server.deliver("docker-registry", &told.to_string()).await;
    registry.push("demo/web", "v2", "two").await;
    let missed = until("a webhook was missed", &|shown| shown["missed"] == 1).await;
    assert_eq!(missed["found"], 1, "{missed}");
    let table = said(&["registries", "list"]).await;
    assert!(table.contains(&format!("{host}/demo/web")), "{table}");
    let note = "webhooks of docker-registry do not all come";
    assert!(table.contains(note), "{table}");
    let limits = said(&["registries", "limits"]).await;
    assert!(
        limits.contains(&host) && limits.contains("not told"),
        "{limits}"
    );
    let limits = server.json(&["registries", "limits"]).await;
    let requests = limits["registries"][0]["requests"].as_i64();
    assert!(requests > Some(2), "{limits}");

    let health = server.json(&["webhooks", "health"]).await;
    assert_eq!(health[0]["missed"], 1, "{health}");
    let table = said(&["webhooks", "health"]).await;
    assert!(table.contains("1 (last "), "{table}");

    registry.kill();
    let failed = until("it is seen to be away", &|shown| shown["error"].is_string()).await;
    let table = said(&["registries"]).await;
    let error = failed["error"].as_str().unwrap();
    let begin: String = error.chars().take(20).collect();
    assert!(table.contains(&begin), "{error}: {table}");
}
