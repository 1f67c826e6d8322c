//! Everything that a service says, in a real container.

use crate::bench::{Bench, PATIENCE, service, with_v1};
use serde_json::{Value, json};
use windlass_testkit::{eventually, free_port};

/// A container as the engine itself tells of it.
fn raw(device: &Bench, id: &str) -> Value {
    let socket = device.host.trim_start_matches("unix://");
    let url = format!("http://engine/containers/{id}/json");
    let told = std::process::Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket", socket, &url])
        .output()
        .unwrap();
    serde_json::from_slice(&told.stdout).unwrap()
}

#[tokio::test]
async fn a_container_is_made_as_its_service_says() {
    let (_registry, v1) = with_v1().await;
    let mut device = Bench::new().await;
    let (tcp, udp) = (free_port(), free_port());
    let folder = device.file("shared");
    std::fs::create_dir(&folder).unwrap();
    let bind = format!("{}:/shared:ro", folder.display());
    let config = json!({
        "command": ["serve", "now"],
        "environment": {"A": "b", "APP_PORT": 8081},
        "ports": [format!("127.0.0.1:{tcp}:8081"), format!("{udp}:9000/udp")],
        "volumes": ["data:/data", bind],
        "networks": {"front": {"aliases": ["shop"]}, "back": {}},
        "restart": "on-failure:7",
        "labels": {"tier": "front"},
        "resources": {"limits": {"cpu": "500m", "memory": "64Mi", "pids": 50}},
        "user": "0:0",
        "working_dir": "/shared",
        "hostname": "shop-1",
        "cap_drop": ["ALL"], "cap_add": ["NET_BIND_SERVICE"],
        "devices": ["/dev/null:/dev/nothing:rw"],
        "read_only": true,
        "tmpfs": ["/tmp"],
        "extra_hosts": ["printer:192.0.2.7"],
        "logging": {"driver": "json-file", "options": {"max-size": "1m", "max-file": "2"}},
        "stop_signal": "SIGINT",
        "stop_grace_period": "4s",
        "init": true,
        "readinessProbe": {"type": "tcp", "tcpPort": 8081, "periodSeconds": 1},
    });
    device.server.wants(&[service(1, "web", &v1, config)]);
    device.start(&[]);
    let found = device.settles("web", &v1).await;
    let told = raw(&device, &found.id);
    for (at, expected) in [
        ("/Config/Cmd", json!(["serve", "now"])),
        ("/Config/Entrypoint", json!(["/app"])),
        ("/Config/Labels/tier", json!("front")),
        ("/Config/User", json!("0:0")),
        ("/Config/WorkingDir", json!("/shared")),
        ("/Config/Hostname", json!("shop-1")),
        ("/Config/StopSignal", json!("SIGINT")),
        ("/Config/StopTimeout", json!(4)),
        (
            "/HostConfig/PortBindings/8081~1tcp/0/HostPort",
            json!(tcp.to_string()),
        ),
        (
            "/HostConfig/PortBindings/8081~1tcp/0/HostIp",
            json!("127.0.0.1"),
        ),
        (
            "/HostConfig/PortBindings/9000~1udp/0/HostPort",
            json!(udp.to_string()),
        ),
        (
            "/HostConfig/RestartPolicy",
            json!({"Name": "on-failure", "MaximumRetryCount": 7}),
        ),
        ("/HostConfig/NanoCpus", json!(500_000_000)),
        ("/HostConfig/Memory", json!(64 << 20)),
        ("/HostConfig/PidsLimit", json!(50)),
        ("/HostConfig/CapDrop", json!(["ALL"])),
        ("/HostConfig/CapAdd", json!(["NET_BIND_SERVICE"])),
        ("/HostConfig/Devices/0/PathOnHost", json!("/dev/null")),
        (
            "/HostConfig/Devices/0/PathInContainer",
            json!("/dev/nothing"),
        ),
        ("/HostConfig/ReadonlyRootfs", json!(true)),
        ("/HostConfig/ExtraHosts", json!(["printer:192.0.2.7"])),
        ("/HostConfig/LogConfig/Type", json!("json-file")),
        (
            "/HostConfig/LogConfig/Config",
            json!({"max-size": "1m", "max-file": "2"}),
        ),
        ("/HostConfig/Init", json!(true)),
    ] {
        assert_eq!(told.pointer(at), Some(&expected), "{at} of {told:#}");
    }
    let variables = told["Config"]["Env"].as_array().unwrap();
    assert!(variables.contains(&json!("A=b")) && variables.contains(&json!("APP_PORT=8081")));
    assert!(told["HostConfig"]["Tmpfs"]["/tmp"].is_string());
    let mounts: Vec<(&Value, &Value, &Value)> = told["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| (&mount["Type"], &mount["Destination"], &mount["RW"]))
        .collect();
    assert!(
        mounts.contains(&(&json!("volume"), &json!("/data"), &json!(true))),
        "{mounts:?}"
    );
    assert!(
        mounts.contains(&(&json!("bind"), &json!("/shared"), &json!(false))),
        "{mounts:?}"
    );
    let aliases = |network: &str| {
        let at = format!("{}-1-{network}", device.scope);
        told["NetworkSettings"]["Networks"][&at]["Aliases"].clone()
    };
    let has = |network: &str, name: &str| {
        let aliases = aliases(network);
        aliases
            .as_array()
            .is_some_and(|all| all.contains(&json!(name)))
    };
    assert!(has("front", "web") && has("front", "shop") && has("back", "web"));
    assert!(!has("back", "shop"));
    let url = format!("http://127.0.0.1:{tcp}/");
    let answer = windlass_testkit::http().get(url).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "version v1");
}

#[tokio::test]
async fn a_secret_is_read_from_its_file_and_one_that_is_missing_is_waited_for() {
    let (_registry, v1) = with_v1().await;
    let mut device = Bench::new().await;
    let file = device.file("password");
    let config = json!({"secrets": {"PASSWORD": file}});
    device.server.wants(&[service(1, "web", &v1, config)]);
    device.start(&[]);
    device
        .tells_why("web", "config", "the value of PASSWORD cannot be read from")
        .await;
    assert!(device.containers().await.is_empty());
    std::fs::write(&file, "open sesame\n").unwrap();
    let found = device.settles("web", &v1).await;
    let told = raw(&device, &found.id);
    let variables = told["Config"]["Env"].as_array().unwrap();
    assert!(variables.contains(&json!("PASSWORD=open sesame")));
    // Nothing of it is in what the agent keeps or tells.
    eventually("the report is there", PATIENCE, async || {
        device.server.reported("web").is_some()
    })
    .await;
    let report = device.server.reported("web").unwrap().to_string();
    let memory = std::fs::read_to_string(device.file("state/memory.json")).unwrap();
    assert!(!report.contains("sesame") && !memory.contains("sesame"));
}
