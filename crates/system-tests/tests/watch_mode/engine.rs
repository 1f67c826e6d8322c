//! The engine's API as a person or compose uses it.

use serde_json::{Value, json};
use windlass_testkit::DockerEngine;

/// Calls it, and returns what it answered.
pub(crate) async fn api(engine: &DockerEngine, method: &str, path: &str, body: &Value) -> Value {
    let socket = engine.host.strip_prefix("unix://").unwrap();
    let output = tokio::process::Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "120",
            "--unix-socket",
            socket,
        ])
        .args(["-X", method, "-H", "Content-Type: application/json"])
        .args(["--data-binary", &body.to_string()])
        .arg(format!("http://engine{path}"))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{method} {path}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    // A pull answers with a line for each thing that happens.
    let last = text.trim().lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or(Value::Null)
}

pub(crate) async fn get(engine: &DockerEngine, path: &str) -> Value {
    api(engine, "GET", path, &Value::Null).await
}

pub(crate) async fn post(engine: &DockerEngine, path: &str, body: &Value) -> Value {
    api(engine, "POST", path, body).await
}

/// Pulls what a tag names.
pub(crate) async fn pull(engine: &DockerEngine, image: &str) {
    let (name, tag) = image.rsplit_once(':').unwrap();
    let path = format!("/images/create?fromImage={name}&tag={tag}");
    let last = post(engine, &path, &Value::Null).await;
    assert_eq!(last.get("error"), None, "{last}");
}

/// Makes a container and starts it, as `docker run -d --name NAME` does. Returns its id.
pub(crate) async fn run(engine: &DockerEngine, name: &str, body: &Value) -> String {
    let made = post(engine, &format!("/containers/create?name={name}"), body).await;
    let id = made["Id"]
        .as_str()
        .unwrap_or_else(|| panic!("{name}: {made}"));
    let started = post(engine, &format!("/containers/{id}/start"), &Value::Null).await;
    assert_eq!(started, Value::Null, "{name}");
    id.to_owned()
}

pub(crate) async fn stop(engine: &DockerEngine, name: &str) {
    post(
        engine,
        &format!("/containers/{name}/stop?t=1"),
        &Value::Null,
    )
    .await;
}

pub(crate) async fn remove(engine: &DockerEngine, name: &str) {
    api(
        engine,
        "DELETE",
        &format!("/containers/{name}?force=true"),
        &Value::Null,
    )
    .await;
}

/// A container as the engine tells of it; nothing where there is none.
pub(crate) async fn inspect(engine: &DockerEngine, name: &str) -> Value {
    get(engine, &format!("/containers/{name}/json")).await
}

/// The names of all containers.
pub(crate) async fn names(engine: &DockerEngine) -> Vec<String> {
    let all = get(engine, "/containers/json?all=true").await;
    let mut names: Vec<String> = all
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| Some(one["Names"][0].as_str()?.trim_start_matches('/').to_owned()))
        .collect();
    names.sort();
    names
}

/// The smallest container that asks to be kept up to date.
pub(crate) fn asking(image: &str, network: &str) -> Value {
    json!({"Image": image, "Labels": {"windlass.enable": "true"},
           "HostConfig": {"NetworkMode": network}})
}
