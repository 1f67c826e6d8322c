//! Targets as they are met, and what is made of them.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use windlass_reconcile::spec::{ServiceKey, ServiceSpec, Wanted};

fn read(services: &Value) -> Wanted {
    let target = json!({"apps": {"7": {"appId": 7, "appName": "demo", "services": services}}});
    Wanted::read(&serde_json::from_value(target).unwrap(), 3)
}

fn service(config: &Value) -> Value {
    json!({"serviceId": 1, "serviceName": "web", "imageName": "r/app:1", "config": config})
}

const KEY: ServiceKey = ServiceKey { app: 7, service: 1 };

fn one(config: &Value) -> Wanted {
    read(&json!([service(config)]))
}

fn spec(config: &Value) -> ServiceSpec {
    let mut wanted = one(config);
    wanted
        .services
        .remove(&KEY)
        .unwrap_or_else(|| panic!("{config}: {:?}", wanted.refused))
}

/// What a field becomes, by its name in the container's spec; whatever else is said stays as it is by default.
#[track_caller]
fn becomes(config: &Value, field: &str, expected: &Value) {
    let container = serde_json::to_value(spec(config).container).unwrap();
    assert_eq!(&container[field], expected, "{config}");
}

#[track_caller]
fn refused(config: &Value, reason: &str) {
    let wanted = one(config);
    let refused = wanted
        .refused
        .get(&KEY)
        .unwrap_or_else(|| panic!("{config} is taken"));
    assert_eq!(refused.reason, reason, "{config}");
}

#[test]
fn the_example_of_the_protocol_is_read_whole() {
    let wanted = one(
        &json!({"image": "r/app:1", "ports": ["18081:8080"], "environment": {"K": "v"},
        "volumes": ["data:/var/lib/data"], "networks": [], "networkMode": "bridge",
        "restart": "unless-stopped", "labels": {"iotistic.x": "1"},
        "resources": {"limits": {"cpu": "0.5", "memory": "64Mi"}},
        "livenessProbe": {"type": "tcp", "tcpPort": 8080},
        "readinessProbe": {"type": "http", "path": "/health", "port": 8080, "expectedStatus": [200]},
        "startupProbe": {"type": "exec", "command": ["/bin/true"], "periodSeconds": 1,
                         "failureThreshold": 10}}),
    );
    assert_eq!(wanted.warnings, Vec::<String>::new());
    let spec = &wanted.services[&KEY];
    let container = serde_json::to_value(&spec.container).unwrap();
    assert_eq!(container["network_mode"], json!("bridge"));
    assert_eq!(container["networks"], json!({}));
    assert_eq!(container["labels"], json!({"iotistic.x": "1"}));
    assert_eq!(container["resources"]["cpu_milli"], json!(500));
    assert_eq!(container["resources"]["memory_bytes"], json!(64 << 20));
    let probes = serde_json::to_value(&spec.probes).unwrap();
    assert_eq!(probes["liveness"]["kind"], json!({"tcp": {"port": 8080}}));
    assert_eq!(
        probes["readiness"]["kind"]["http"]["expected"],
        json!([200])
    );
    assert_eq!(
        probes["startup"]["kind"],
        json!({"exec": {"command": ["/bin/true"]}})
    );
    assert_eq!(probes["startup"]["failure_threshold"], json!(10));
}

#[test]
fn ports_are_read_in_every_form() {
    let port = |address: Option<&str>, host: Value, container: u16, protocol: &str| json!({"address": address, "host": host, "container": container, "protocol": protocol});
    for (given, expected) in [
        (
            json!("8080:80"),
            vec![port(None, json!([8080, 8080]), 80, "tcp")],
        ),
        (json!("80"), vec![port(None, Value::Null, 80, "tcp")]),
        (json!(80), vec![port(None, Value::Null, 80, "tcp")]),
        (json!("0:80"), vec![port(None, Value::Null, 80, "tcp")]),
        (
            json!("53:53/udp"),
            vec![port(None, json!([53, 53]), 53, "udp")],
        ),
        (
            json!("127.0.0.1:8080:80/udp"),
            vec![port(Some("127.0.0.1"), json!([8080, 8080]), 80, "udp")],
        ),
        (
            json!("127.0.0.1::80"),
            vec![port(Some("127.0.0.1"), Value::Null, 80, "tcp")],
        ),
        (
            json!("[::1]:8080:80"),
            vec![port(Some("::1"), json!([8080, 8080]), 80, "tcp")],
        ),
        (
            json!("8080-8090:80"),
            vec![port(None, json!([8080, 8090]), 80, "tcp")],
        ),
        (
            json!("8080-8081:80-81"),
            vec![
                port(None, json!([8080, 8080]), 80, "tcp"),
                port(None, json!([8081, 8081]), 81, "tcp"),
            ],
        ),
        (
            json!({"target": 80, "published": "8080", "protocol": "tcp", "host_ip": "10.0.0.1"}),
            vec![port(Some("10.0.0.1"), json!([8080, 8080]), 80, "tcp")],
        ),
        (
            json!({"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}),
            vec![port(None, json!([8080, 8080]), 80, "udp")],
        ),
    ] {
        becomes(&json!({"ports": [given]}), "ports", &json!(expected));
    }
}

#[test]
fn fields_are_read_in_every_spelling() {
    for (config, field, expected) in [
        (
            json!({"environment": ["A=1", "B=x=y"]}),
            "environment",
            json!({"A": "1", "B": "x=y"}),
        ),
        (
            json!({"environment": {"A": 1, "B": true}}),
            "environment",
            json!({"A": "1", "B": "true"}),
        ),
        (
            json!({"secrets": {"PASS": "/run/pass", "KEY": {"file": "/run/key"}}}),
            "secret_files",
            json!({"PASS": "/run/pass", "KEY": "/run/key"}),
        ),
        (
            json!({"volumes": ["data:/d", "/etc/x:/x:ro", "/anonymous"]}),
            "mounts",
            json!([
                {"source": null, "target": "/anonymous", "read_only": false},
                {"source": "/etc/x", "target": "/x", "read_only": true},
                {"source": "data", "target": "/d", "read_only": false},
            ]),
        ),
        (
            json!({"volumes": [{"type": "bind", "source": "/a", "target": "/b", "read_only": true}]}),
            "mounts",
            json!([{"source": "/a", "target": "/b", "read_only": true}]),
        ),
        (
            json!({"volumes": [{"type": "tmpfs", "target": "/t"}]}),
            "tmpfs",
            json!({"/t": ""}),
        ),
        (json!({"tmpfs": "/run"}), "tmpfs", json!({"/run": ""})),
        (
            json!({"tmpfs": ["/run:size=64m"]}),
            "tmpfs",
            json!({"/run": "size=64m"}),
        ),
        (json!({}), "networks", json!({"default": []})),
        (
            json!({"networks": ["a", "b"]}),
            "networks",
            json!({"a": [], "b": []}),
        ),
        (
            json!({"networks": {"a": {"aliases": ["x"]}, "b": null}, "networkMode": "bridge"}),
            "networks",
            json!({"a": ["x"], "b": []}),
        ),
        (
            json!({"network_mode": "host"}),
            "network_mode",
            json!("host"),
        ),
        (
            json!({"restart": "always"}),
            "restart",
            json!("unless_stopped"),
        ),
        (json!({"restart": "no"}), "restart", json!("no")),
        (json!({"restart": false}), "restart", json!("no")),
        (
            json!({"restart": "on-failure:3"}),
            "restart",
            json!({"on_failure": 3}),
        ),
        (
            json!({"restart": {"Name": "on-failure", "MaximumRetryCount": 2}}),
            "restart",
            json!({"on_failure": 2}),
        ),
        (
            json!({"labels": ["a=1", "b"]}),
            "labels",
            json!({"a": "1", "b": ""}),
        ),
        (
            json!({"command": "sh -c 'echo hi'"}),
            "command",
            json!(["sh", "-c", "echo hi"]),
        ),
        (json!({"command": ["a", 1]}), "command", json!(["a", "1"])),
        (json!({"entrypoint": []}), "entrypoint", json!([])),
        (
            json!({"cap_add": ["cap_net_admin", "SYS_TIME"]}),
            "cap_add",
            json!(["NET_ADMIN", "SYS_TIME"]),
        ),
        (
            json!({"capabilities": {"drop": ["ALL"]}}),
            "cap_drop",
            json!(["ALL"]),
        ),
        (
            json!({"capabilities": ["NET_RAW"]}),
            "cap_add",
            json!(["NET_RAW"]),
        ),
        (
            json!({"devices": ["/dev/ttyS0"]}),
            "devices",
            json!(["/dev/ttyS0"]),
        ),
        (
            json!({"extraHosts": ["a:10.0.0.1", "b:::1"]}),
            "extra_hosts",
            json!({"a": "10.0.0.1", "b": "::1"}),
        ),
        (json!({"dns": "1.1.1.1"}), "dns", json!(["1.1.1.1"])),
        (json!({"user": 1000}), "user", json!("1000")),
        (json!({"workingDir": "/w"}), "working_dir", json!("/w")),
        (json!({"readOnly": true}), "read_only", json!(true)),
        (
            json!({"stop_grace_period": "1m30s"}),
            "stop_grace_seconds",
            json!(90),
        ),
        (
            json!({"stopGracePeriod": "500ms"}),
            "stop_grace_seconds",
            json!(1),
        ),
        (
            json!({"stopSignal": "sigint"}),
            "stop_signal",
            json!("SIGINT"),
        ),
        (
            json!({"logging": {"options": {"max-size": "1m"}}}),
            "logging",
            json!({"driver": "json-file", "options": {"max-size": "1m"}}),
        ),
        (
            json!({"healthcheck": {"test": "curl -f x", "interval": "1m30s", "retries": 2}}),
            "healthcheck",
            json!({"test": ["CMD-SHELL", "curl -f x"], "interval_seconds": 90,
                   "timeout_seconds": null, "retries": 2, "start_period_seconds": null}),
        ),
    ] {
        becomes(&config, field, &expected);
    }
    for (memory, bytes) in [
        (json!("64Mi"), 64_u64 << 20),
        (json!("1g"), 1 << 30),
        (json!("0.5G"), 1 << 29),
        (json!("512kb"), 512 << 10),
        (json!(1_048_576), 1 << 20),
    ] {
        let resources = spec(&json!({"resources": {"limits": {"memory": memory}}}));
        assert_eq!(
            resources.container.resources.memory_bytes,
            Some(bytes),
            "{memory}"
        );
    }
    for (cpu, milli) in [(json!("0.5"), 500), (json!(2), 2000), (json!("250m"), 250)] {
        let resources = spec(&json!({"deploy": {"resources": {"limits": {"cpus": cpu}}}}));
        assert_eq!(
            resources.container.resources.cpu_milli,
            Some(milli),
            "{cpu}"
        );
    }
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_field_and_what_would_be_right() {
    for (config, reason) in [
        (
            json!({"ports": ["http"]}),
            "config.ports[0]: \"http\" is not a port such as 8080:80, 127.0.0.1:8080:80/udp, \
             8080-8090:80 or 80",
        ),
        (
            json!({"ports": ["8080-8081:80-85"]}),
            "config.ports[0]: the ranges of the host's and the container's ports differ in length",
        ),
        (
            json!({"ports": ["80:80", "80:81"]}),
            "config.ports: the host's port 80 is published for 80 and for 81 of the container",
        ),
        (
            json!({"ports": ["x:80:80"]}),
            "config.ports[0]: \"x\" is no address of the host",
        ),
        (
            json!({"volumes": ["./data:/d"]}),
            "config.volumes[0]: \"./data\" is neither a volume's name nor a path of the host that \
             begins with /",
        ),
        (
            json!({"volumes": ["a:/d", "b:/d"]}),
            "config.volumes[1]: /d is mounted twice",
        ),
        (
            json!({"restart": "sometimes"}),
            "config.restart: \"sometimes\" is not no, always, unless-stopped, on-failure or \
             on-failure:<times>",
        ),
        (
            json!({"resources": {"limits": {"memory": "much"}}}),
            "config.resources.limits.memory: \"much\" is not a size such as 64Mi, 512m, 1g or a \
             number of bytes",
        ),
        (
            json!({"networkMode": "container:x"}),
            "config.networkMode: \"container:x\" is not bridge, host or none",
        ),
        (
            json!({"networkMode": "host", "networks": ["a"]}),
            "config.networkMode: a service with host or none has no networks beside it",
        ),
        (
            json!({"livenessProbe": {"type": "ping"}}),
            "config.livenessProbe: type is not http, tcp or exec",
        ),
        (
            json!({"readinessProbe": {"type": "http"}}),
            "config.readinessProbe: port is missing: the container's port",
        ),
        (
            json!({"labels": {"windlass.scope": "x"}}),
            "config.labels: windlass.scope is the agent's own label",
        ),
        (
            json!({"labels": {"windlass.settings": "x"}}),
            "config.labels: windlass.settings is the agent's own label",
        ),
        (
            json!({"labels": ["windlass.networks={}"]}),
            "config.labels: windlass.networks is the agent's own label",
        ),
        (
            json!({"command": "sh -c 'x"}),
            "config.command: a quote is opened and not closed",
        ),
        (
            json!({"depends_on": ["db"]}),
            "config.depends_on: db is no service of the app",
        ),
        (
            json!({"depends_on": ["web"]}),
            "config.depends_on: a circle: web → web",
        ),
        (
            json!({"secrets": ["a"]}),
            "config.secrets: [\"a\"] is not a map from variables to files of the device",
        ),
        (
            json!({"updateLock": {"longest": 5}}),
            "config.updateLock: either file or http says where the lock is asked for",
        ),
        (
            json!({"privileged": "yes"}),
            "config.privileged: \"yes\" is not true or false",
        ),
    ] {
        refused(&config, reason);
    }
}

#[test]
fn a_service_that_is_refused_costs_the_others_nothing() {
    let wanted = read(&json!([
        service(&json!({"ports": ["80:80"]})),
        {"serviceId": 2, "serviceName": "bad", "imageName": "NO", "config": {}},
        {"serviceId": 3, "serviceName": "same-port", "imageName": "r/x", "config": {"ports": ["80:8080"]}},
        {"serviceId": 4, "serviceName": "web", "imageName": "r/x", "config": {}},
        {"serviceId": 5, "serviceName": "above", "imageName": "r/x", "config": {"depends_on": ["bad"]}},
        {"serviceId": 6, "serviceName": "higher", "imageName": "r/x", "config": {"dependsOn": ["above"]}},
        {"serviceId": 7, "serviceName": "a", "imageName": "r/x", "config": {"depends_on": ["b"]}},
        {"serviceId": 8, "serviceName": "b", "imageName": "r/x", "config": {"depends_on": ["c"]}},
        {"serviceId": 9, "serviceName": "c", "imageName": "r/x", "config": {"depends_on": ["a"]}},
        {"serviceId": 10, "serviceName": "behind", "imageName": "r/x", "config": {"depends_on": ["a"]}},
        {"serviceId": 11, "serviceName": "odd", "imageName": "r/x", "state": "sleeping", "config": {}},
        {"serviceId": 12, "serviceName": "fine", "imageName": "r/x", "config": {"depends_on": {"web": {"condition": "service_healthy"}}}},
    ]));
    let taken: BTreeSet<i64> = wanted.services.keys().map(|key| key.service).collect();
    assert_eq!(taken, BTreeSet::from([1, 12]));
    let reason = |service| {
        wanted.refused[&ServiceKey { app: 7, service }]
            .reason
            .as_str()
    };
    assert!(reason(2).starts_with("imageName: "), "{}", reason(2));
    assert_eq!(
        reason(3),
        "config.ports: web publishes the host's port 80 too"
    );
    assert_eq!(reason(4), "serviceName: service 1 has this name too");
    assert_eq!(reason(5), "config.depends_on: bad is refused itself");
    assert_eq!(reason(6), "config.depends_on: above is refused itself");
    assert_eq!(reason(7), "config.depends_on: a circle: a → b → c → a");
    assert_eq!(reason(9), "config.depends_on: a circle: c → a → b → c");
    assert_eq!(reason(10), "config.depends_on: a is refused itself");
    assert_eq!(
        reason(11),
        "state: \"sleeping\" is neither running nor stopped"
    );
}

#[test]
fn fields_that_nobody_knows_are_left_out_and_told() {
    let wanted = one(
        &json!({"image": "x", "container_name": "mine", "shm_size": "1g",
        "livenessProbe": {"type": "tcp", "port": 1, "colour": "red"}, "updateStrategy": "careful"}),
    );
    assert_eq!(
        wanted.warnings,
        [
            "web (7/1): config.livenessProbe.colour is left out",
            "web (7/1): config.updateStrategy (\"careful\" is not known) is left out",
            "web (7/1): config.container_name is left out",
            "web (7/1): config.shm_size is left out",
        ]
    );
    assert!(wanted.services.contains_key(&KEY));
}

#[test]
fn a_chain_of_dependencies_may_be_as_long_as_a_target() {
    let services: Vec<Value> = (0..20_000)
        .map(|n| {
            let below = if n == 0 {
                json!([])
            } else {
                json!([format!("s{}", n - 1)])
            };
            json!({"serviceId": n, "serviceName": format!("s{n}"), "imageName": "r/x",
                   "config": {"depends_on": below}})
        })
        .collect();
    let wanted = read(&json!(services));
    assert_eq!(wanted.services.len(), 20_000);
}

#[test]
fn a_fingerprint_is_of_what_makes_a_container_and_stays_what_it_is() {
    let base = spec(&json!({"ports": ["80:80"]}));
    // Written down: a version of this program that gives another one would make every container anew.
    assert_eq!(base.fingerprint(), "616c5942eee60a5aeca05ecff9a570c4");
    for same in [
        json!({"ports": ["80:80"], "restart": "always", "networks": ["default"]}),
        json!({"ports": [{"target": 80, "published": 80}], "updateStrategy": "blue-green"}),
        json!({"ports": ["80:80"], "livenessProbe": {"type": "tcp", "port": 80}}),
        json!({"ports": ["80:80"], "updateLock": "/run/lock", "unknown": 1}),
    ] {
        assert_eq!(spec(&same).fingerprint(), base.fingerprint(), "{same}");
    }
    for other in [
        json!({"ports": ["80:80/udp"]}),
        json!({"ports": ["80:80"], "command": []}),
        json!({"ports": ["80:80"], "labels": {"a": "1"}}),
        json!({"ports": ["80:80"], "stop_grace_period": 5}),
        json!({"ports": ["80:80"], "networks": {"default": {"aliases": ["x"]}}}),
    ] {
        assert_ne!(spec(&other).fingerprint(), base.fingerprint(), "{other}");
    }
    let mut renamed = base.clone();
    renamed.image = "r/app:2".to_owned();
    assert_ne!(renamed.fingerprint(), base.fingerprint());
}

#[test]
fn a_spec_survives_the_file_that_it_is_remembered_in() {
    let spec = spec(
        &json!({"ports": ["8000-8010:80"], "restart": "on-failure:2",
        "readinessProbe": {"type": "http", "port": 80, "scheme": "https", "bodyContains": "ok"},
        "checks": [{"type": "tcp", "tcpPort": 1, "check": "db"}],
        "updateLock": {"http": {"port": 9, "path": "lock"}, "longest": "2h"}}),
    );
    let text = serde_json::to_string(&spec).unwrap();
    let back: ServiceSpec = serde_json::from_str(&text).unwrap();
    assert_eq!(back, spec);
    assert_eq!(back.fingerprint(), spec.fingerprint());
}
