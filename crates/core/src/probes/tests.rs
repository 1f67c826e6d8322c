//! Probes in targets.

use super::*;

fn state(config: &Value) -> TargetState {
    serde_json::from_value(json!({"apps": {"1": {"appId": 1, "appName": "demo", "services": [
        {"serviceId": 1, "serviceName": "web", "imageName": "r:5000/demo/app:v1", "config": config},
        {"serviceId": 2, "serviceName": "db", "imageName": "r:5000/demo/db:v1", "config": {}},
    ]}}}))
    .unwrap()
}

fn config(state: &TargetState) -> Map<String, Value> {
    state.apps["1"].services[0].config.clone()
}

fn put_in(before: &TargetState, checks: &[Check]) -> TargetState {
    let rule = TagRule::default();
    let repository = "r:5000/demo/app".parse().unwrap();
    apply(before, before.clone(), &repository, &rule, checks)
}

fn http(url: &str) -> Check {
    Check {
        url: Some(url.to_owned()),
        ..Check::new(CheckKind::Http)
    }
}

fn tcp(port: u16) -> Check {
    Check {
        port: Some(port),
        ..Check::new(CheckKind::Tcp)
    }
}

#[test]
fn a_check_becomes_a_probe_of_the_services_that_move_and_of_no_other() {
    let before = state(&json!({"ports": ["80:80"]}));
    let mut check = http("http://{address}:8080/health?x=1");
    check.expected_status = [200, 204].into();
    check.body_contains = Some("ok".to_owned());
    let after = put_in(&before, &[check]);
    assert_eq!(
        config(&after)["readinessProbe"],
        json!({"type": "http", "path": "/health?x=1", "port": 8080, "expectedStatus": [200, 204],
               "bodyContains": "ok", "periodSeconds": 30, "timeoutSeconds": 10,
               "failureThreshold": 3, "successThreshold": 1, "check": "http 1"})
    );
    assert_eq!(config(&after)["ports"], json!(["80:80"]));
    assert_eq!(after.apps["1"].services[1], before.apps["1"].services[1]);
}

#[test]
fn the_services_own_probe_stays_and_further_checks_stand_beside_it() {
    let own = json!({"type": "tcp", "tcpPort": 1});
    let before = state(&json!({"readinessProbe": own}));
    let after = put_in(&before, &[tcp(2), tcp(3)]);
    assert_eq!(config(&after)["readinessProbe"], own);
    let more = config(&after)["checks"].clone();
    let ports: Vec<Value> = more
        .as_array()
        .unwrap()
        .iter()
        .map(|probe| probe["tcpPort"].clone())
        .collect();
    assert_eq!(ports, [2, 3]);
}

#[test]
fn what_an_earlier_rollout_left_is_replaced_and_the_same_again_changes_nothing() {
    let before = state(&json!({"checks": [{"type": "exec", "command": ["x"]}]}));
    let once = put_in(&before, &[tcp(2), tcp(3)]);
    assert_eq!(put_in(&once, &[tcp(2), tcp(3)]), once);
    let other = put_in(&once, &[tcp(4)]);
    assert_eq!(config(&other)["readinessProbe"]["tcpPort"], json!(4));
    assert_eq!(put_in(&once, &[]), before);
}

#[test]
fn checks_that_the_server_runs_or_that_need_no_probe_are_none() {
    let before = state(&json!({}));
    let mut from_server = tcp(80);
    from_server.from = Some(CheckFrom::Server);
    let checks = [
        from_server,
        Check::new(CheckKind::ContainerRunning),
        Check::new(CheckKind::Custom),
        http("not a url"),
    ];
    assert_eq!(put_in(&before, &checks), before);
}

#[test]
fn urls_name_a_place_on_the_device() {
    let cases = [
        ("http://{address}/x", Some((false, 80, "/x"))),
        ("https://{address}", Some((true, 443, "/"))),
        ("http://{address}:81?q", Some((false, 81, "/?q"))),
        ("http://[fd12::1]/x#y", Some((false, 80, "/x"))),
        ("http://[fd12::1]:81/x", Some((false, 81, "/x"))),
        ("ftp://{address}/x", None),
        ("http://{address}:x/", None),
        ("/x", None),
    ];
    for (url, expected) in cases {
        let place = Place::of(url).map(|p| (p.tls, p.port, p.path));
        let expected = expected.map(|(tls, port, path)| (tls, port, path.to_owned()));
        assert_eq!(place, expected, "{url}");
    }
}
