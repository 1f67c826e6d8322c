//! What is pushed is tried with everything that the container had, and taken back where it is no good.

use crate::engine::{asking, get, inspect, names, post, run};
use crate::machine::{Machine, NETWORK, PATIENCE};
use serde_json::{Value, json};
use windlass_client::PageQuery;
use windlass_testkit::eventually;

/// A container with something of everything.
fn furnished(image: &str) -> Value {
    json!({
        "Image": image, "Env": ["MINE=1"], "Hostname": "till", "StopTimeout": 3,
        "Labels": {"windlass.enable": "true", "team": "shop",
                   "com.docker.compose.project": "shop", "com.docker.compose.service": "web",
                   "com.docker.compose.container-number": "1"},
        "Volumes": {"/anonymous": {}},
        "HostConfig": {
            "NetworkMode": NETWORK, "Binds": ["shop-data:/data"],
            "RestartPolicy": {"Name": "always"}, "CapAdd": ["NET_ADMIN"], "Memory": 67_108_864,
            "Ulimits": [{"Name": "nofile", "Soft": 512, "Hard": 1024}],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Tmpfs": {"/scratch": "size=1m"}, "ShmSize": 1_048_576, "ReadonlyRootfs": true,
        },
        "NetworkingConfig": {"EndpointsConfig": {NETWORK: {"Aliases": ["web", "shop"]}}},
    })
}

/// The names of its volumes by where they are.
fn volumes(container: &Value) -> Vec<(String, String)> {
    let mounts = container["Mounts"].as_array().into_iter().flatten();
    let mut volumes: Vec<_> = mounts
        .map(|one| (one["Destination"].to_string(), one["Name"].to_string()))
        .collect();
    volumes.sort();
    volumes
}

fn aliases(container: &Value) -> Vec<String> {
    let at = &container["NetworkSettings"]["Networks"][NETWORK]["Aliases"];
    let own = container["Id"].as_str().unwrap();
    let all = at
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let mut all: Vec<String> = all
        .filter(|one| !own.starts_with(one))
        .map(str::to_owned)
        .collect();
    all.sort();
    all
}

/// What the engine was told of it, but for what must differ.
fn told(container: &Value) -> Value {
    let mut host = container["HostConfig"].clone();
    // The volume without a name has one now: compared by itself.
    host["Binds"] = Value::Null;
    let config = &container["Config"];
    json!({"host": host, "hostname": config["Hostname"], "stop": config["StopTimeout"],
           "team": config["Labels"]["team"], "volumes": volumes(container), "aliases": aliases(container)})
}

fn variables(container: &Value) -> Vec<&str> {
    let env = container["Config"]["Env"].as_array().into_iter().flatten();
    let mut env: Vec<&str> = env
        .filter_map(Value::as_str)
        .filter(|one| !one.starts_with("PATH="))
        .collect();
    env.sort_unstable();
    env
}

#[tokio::test]
async fn a_good_image_is_taken_with_everything_kept_and_a_bad_one_leaves_the_very_container_that_was_there()
 {
    let mut machine = Machine::new().await;
    let engine = &machine.engine;
    let first = run(engine, "shop-web-1", &furnished(&machine.image)).await;
    let mut plain = asking(&machine.image, NETWORK);
    plain["Labels"] = json!({});
    let neighbour = run(engine, "neighbour", &plain).await;
    let beside = inspect(engine, "neighbour").await;
    let before = inspect(engine, "shop-web-1").await;
    machine.start(&[]);
    machine.holds("web").await;
    assert_eq!(
        machine.policies().await,
        [format!("local/{}", machine.image)]
    );
    let untouched = inspect(&machine.engine, &first).await;
    assert_eq!(
        untouched["State"]["StartedAt"],
        before["State"]["StartedAt"]
    );

    // A good one.
    let good = machine.push("2", &[]).await;
    eventually("it is made anew", PATIENCE, async || {
        let now = inspect(&machine.engine, "shop-web-1").await;
        now["Id"] != json!(first) && now["State"]["Running"] == json!(true)
    })
    .await;
    let second = settles(&machine, &good).await;
    assert_eq!(told(&second), told(&before));
    assert_eq!(
        variables(&second),
        ["APP_BUILD=2", "APP_VERSION=stable", "MINE=1"]
    );
    assert_eq!(
        second["Config"]["Labels"]["com.docker.compose.service"],
        "web"
    );
    assert_eq!(names(&machine.engine).await, ["neighbour", "shop-web-1"]);
    eventually("the tag names it too", PATIENCE, async || {
        let tagged = get(&machine.engine, &format!("/images/{}/json", machine.image)).await;
        tagged["Id"] == second["Image"]
    })
    .await;

    // A bad one.
    let bad = machine.push("3", &[("APP_CRASH_AFTER_MS", "100")]).await;
    let client = machine.client().await;
    eventually("it is in quarantine", PATIENCE, async || {
        let held = client.quarantine(&PageQuery::default()).await.unwrap();
        held.items.iter().any(|one| one.digest.to_string() == bad)
    })
    .await;
    let back = settles(&machine, &good).await;
    assert_eq!(back["Id"], second["Id"]);
    assert_eq!(told(&back), told(&before));
    assert_eq!(names(&machine.engine).await, ["neighbour", "shop-web-1"]);
    let started = back["State"]["StartedAt"].clone();

    // Pushed again, it ships no more; what comes after it does.
    assert_eq!(
        machine.push("3", &[("APP_CRASH_AFTER_MS", "100")]).await,
        bad
    );
    looked(&machine).await;
    let still = inspect(&machine.engine, "shop-web-1").await;
    assert_eq!(
        (&still["Id"], &still["State"]["StartedAt"]),
        (&back["Id"], &started)
    );
    let last = machine.push("4", &[]).await;
    let fourth = settles(&machine, &last).await;
    assert_eq!(told(&fourth), told(&before));

    let now = inspect(&machine.engine, &neighbour).await;
    assert_eq!(now["State"]["StartedAt"], beside["State"]["StartedAt"]);
    assert_eq!(now["Config"], beside["Config"]);
}

async fn settles(machine: &Machine, digest: &str) -> Value {
    machine.settles_as("shop-web-1", "web", digest).await
}

/// Waits until the registry was looked at once more, from beginning to end.
async fn looked(machine: &Machine) {
    let client = machine.client().await;
    let at = async || {
        let watch = client.registry_watch(&PageQuery::default()).await.unwrap();
        watch.repositories.first().and_then(|one| one.looked_at)
    };
    for _ in 0..2 {
        let before = at().await;
        eventually("the registry is looked at", PATIENCE, async || {
            at().await > before
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_old_already_when_it_was_taken_is_brought_up_to_date() {
    let mut machine = Machine::new().await;
    run(&machine.engine, "web", &asking(&machine.image, NETWORK)).await;
    let newer = machine.push("2", &[]).await;
    machine.start(&[]);
    let updated = machine.settles("web", &newer).await;
    assert_eq!(variables(&updated), ["APP_BUILD=2", "APP_VERSION=stable"]);
    post(&machine.engine, "/containers/web/stop?t=1", &Value::Null).await;
}
