//! Checks run against real servers on this machine, on both databases.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests are to fail loudly"
)]

use chrono::TimeDelta;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use windlass_bus::Bus;
use windlass_core::checks::Allowed;
use windlass_health_checker::{self as health, Counter};
use windlass_service::Deps;
use windlass_store::{Clock, Json, Kind, checks, rollouts};
use windlass_testkit::scenario::{Said, Scenario, clock, image};
use windlass_testkit::{TestStore, eventually, postgres_with, sqlite_with};
use windlass_types::event::EventType;
use windlass_types::ids::DeviceId;
use windlass_types::policy::{Check, CheckFrom, CheckKind, Comparison, Condition, RolloutRule};
use windlass_types::rollout::CheckStatus;

const GROUP: i64 = 100;
const AT_ONCE: usize = 16;

struct World {
    _kept: TestStore,
    clock: Clock,
    deps: Deps,
    counter: Counter,
    scenario: Scenario,
}

async fn worlds(devices: usize, rule: &RolloutRule) -> Vec<World> {
    // Sets the process's TLS provider, as a service does when it starts.
    drop(windlass_testkit::http());
    let (one, other) = (clock(), clock());
    let stores = [
        (sqlite_with(one.clone()).await, one),
        (postgres_with(other.clone()).await, other),
    ];
    let mut worlds = Vec::new();
    for (kept, clock) in stores {
        let scenario = Scenario::begin(&kept.store, devices, rule).await;
        let deps = Deps::new(kept.store.clone(), Bus::local());
        worlds.push(World {
            counter: Counter::new(&deps.metrics).unwrap(),
            deps,
            clock,
            scenario,
            _kept: kept,
        });
    }
    worlds
}

fn loopback() -> Allowed {
    Allowed::new(&["127.0.0.0/8".to_owned()]).unwrap()
}

impl World {
    fn wait(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    async fn pass(&self) {
        health::reports(&self.deps, &self.counter, GROUP)
            .await
            .unwrap();
        health::due(&self.deps, &self.counter, GROUP).await.unwrap();
    }

    async fn check(&self, allowed: &Allowed) {
        health::device_checks(&self.deps, allowed, AT_ONCE)
            .await
            .unwrap();
    }

    async fn until(&self, device: DeviceId, status: &str) {
        eventually(status, Duration::from_secs(20), async || {
            self.pass().await;
            self.scenario.row(device).await.status == status
        })
        .await;
    }

    /// The device runs the new image and reports this address.
    async fn verifying(&self, device: DeviceId, address: Option<&str>) {
        self.scenario
            .report(device, &Said::running(2, &image(2), "c2"))
            .await;
        if let Some(address) = address {
            self.at_address(device, address).await;
        }
        self.until(device, "verifying").await;
    }

    /// The device's last report names this address.
    async fn at_address(&self, device: DeviceId, address: &str) {
        let mut tx = self.deps.store.begin().await.unwrap();
        tx.sql("UPDATE device_current_state SET report = $1 WHERE device_uuid = $2")
            .bind(Json(json!({"local_ip": address})))
            .bind(device.0)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    async fn of_device(&self, device: DeviceId) -> checks::DeviceCheck {
        let mut read = self.deps.store.read().await.unwrap();
        let found = checks::of_devices(&mut read, &[(self.scenario.rollout, device)].into())
            .await
            .unwrap();
        found.into_values().next().unwrap().remove(0)
    }

    async fn evidence(&self, device: DeviceId) -> Value {
        let mut read = self.deps.store.read().await.unwrap();
        let (evidence,): (Json<Value>,) = read
            .sql("SELECT evidence FROM device_rollout_status WHERE device_uuid = $1")
            .bind(device.0)
            .one()
            .await
            .unwrap();
        evidence.0
    }

    async fn execute(&self, sql: &'static str) {
        let now = self.clock.now();
        let mut tx = self.deps.store.begin().await.unwrap();
        tx.sql(sql).bind(now).execute().await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// A server that answers every request with this, and how often it was asked.
async fn server(answer: &str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, asked) = (
        listener.local_addr().unwrap().port(),
        Arc::new(AtomicUsize::new(0)),
    );
    let (answer, count) = (answer.to_owned(), asked.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 8192];
                if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    stream.write_all(answer.as_bytes()).await.ok();
                }
            });
        }
    });
    (port, asked)
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn http(url: String) -> Check {
    Check {
        url: Some(url),
        from: Some(CheckFrom::Server),
        ..Check::new(CheckKind::Http)
    }
}

fn rule(check: Check) -> RolloutRule {
    let mut rule = RolloutRule::default();
    rule.health.checks = vec![check];
    rule
}

#[tokio::test]
async fn a_device_is_healthy_only_once_its_check_has_passed() {
    let (port, asked) = server(&ok("all is well")).await;
    let mut check = http(format!("http://{{address}}:{port}/{{name}}/{{uuid}}"));
    check.body_contains = Some("is well".to_owned());
    for world in worlds(1, &rule(check)).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        world.wait(31);
        world.scenario.poll(device).await;
        world.pass().await;
        assert_eq!(world.scenario.row(device).await.status, "verifying");
        world.check(&loopback()).await;
        world.until(device, "completed").await;
        let evidence = world.evidence(device).await;
        assert_eq!(evidence["checks"][0]["status"], "passed");
        assert_eq!(evidence["checks"][0]["output"], "it answers 200");
        let mut read = world.deps.store.read().await.unwrap();
        let left = checks::of_devices(&mut read, &[(world.scenario.rollout, device)].into())
            .await
            .unwrap();
        assert!(left.is_empty(), "what came of it is in the evidence");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "once on each database");
}

#[tokio::test]
async fn a_check_that_passed_runs_again_once_the_container_was_started_again() {
    let (port, asked) = server(&ok("all is well")).await;
    let check = http(format!("http://{{address}}:{port}/"));
    for world in worlds(1, &rule(check)).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        world.check(&loopback()).await;
        assert_eq!(world.of_device(device).await.status, CheckStatus::Passed);
        let before = asked.load(Ordering::SeqCst);
        world.wait(20);
        // Another container: its stable window goes to 50.
        let image = image(2);
        let said = Said::running(2, &image, "c3");
        world.scenario.report(device, &said).await;
        world.at_address(device, "127.0.0.1").await;
        eventually(
            "the check begins anew",
            Duration::from_secs(20),
            async || {
                world.pass().await;
                world.of_device(device).await.status == CheckStatus::Pending
            },
        )
        .await;
        world.wait(31);
        world.scenario.poll(device).await;
        world.pass().await;
        let still = world.scenario.row(device).await.status;
        assert_eq!(
            still, "verifying",
            "the container that runs was never asked"
        );
        world.check(&loopback()).await;
        assert_eq!(asked.load(Ordering::SeqCst), before + 1);
        world.until(device, "completed").await;
        assert_eq!(world.evidence(device).await["checks"][0]["tries"], 2);
    }
}

#[tokio::test]
async fn three_tries_in_a_row_fail_the_device_and_one_success_passes() {
    let (port, _) = server("HTTP/1.1 503 Sorry\r\ncontent-length: 0\r\n\r\n").await;
    for world in worlds(1, &rule(http(format!("http://{{address}}:{port}/")))).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        for expected in 1..=3 {
            world.check(&loopback()).await;
            // Not due again yet: nothing is tried.
            world.check(&loopback()).await;
            let check = world.of_device(device).await;
            assert_eq!((check.tries, check.failed_in_row), (expected, expected));
            assert_eq!(check.output, "it answers 503");
            world.wait(30);
        }
        assert_eq!(world.of_device(device).await.status, CheckStatus::Failed);
        // A device that is not seen since may have lost its network.
        world.pass().await;
        assert_eq!(world.scenario.row(device).await.status, "verifying");
        world.scenario.poll(device).await;
        world.wait(15);
        world.until(device, "failed").await;
        let row = world.scenario.row(device).await;
        assert_eq!(
            (row.reason.as_deref(), row.verdict.as_deref()),
            (Some("check_failed"), Some("failed"))
        );
        assert_eq!(
            world.evidence(device).await["summary"],
            "check \"http 1\": it answers 503"
        );
    }
}

#[tokio::test]
async fn what_may_not_be_asked_or_has_no_address_is_neither_yes_nor_no() {
    let (port, asked) = server(&ok("")).await;
    let url = |host: &str| format!("http://{host}:{port}/");
    let none = Allowed::new(&[]).unwrap();
    let by_name = Allowed::new(&["localhost".to_owned()]).unwrap();
    let all = Allowed::new(&["0.0.0.0/0".to_owned(), "::/0".to_owned()]).unwrap();
    let cases = [
        (
            "nothing is listed",
            url("{address}"),
            Some("127.0.0.1"),
            &none,
        ),
        (
            "everything is listed, this machine not as such",
            url("{address}"),
            Some("127.0.0.1"),
            &all,
        ),
        (
            "a name that leads to this machine",
            url("localhost"),
            Some("10.0.0.1"),
            &by_name,
        ),
        (
            "a device that claims to be the metadata service",
            url("{address}"),
            Some("169.254.169.254"),
            &all,
        ),
        (
            "this machine in the clothes of IPv6",
            url("{address}"),
            Some("::ffff:127.0.0.1"),
            &all,
        ),
        ("no address", url("{address}"), None, &loopback()),
        (
            "no address but a name",
            url("{address}"),
            Some("localhost"),
            &loopback(),
        ),
        (
            "a number that reads as this machine",
            url("0x7f.1"),
            Some("10.0.0.1"),
            &all,
        ),
        (
            "a file",
            "file:///etc/passwd".to_owned(),
            Some("10.0.0.1"),
            &all,
        ),
        (
            "a user name in front",
            format!("http://x@127.0.0.1:{port}/"),
            Some("10.0.0.1"),
            &loopback(),
        ),
    ]
    .map(|(name, url, address, allowed)| (name, url, address, allowed.clone()));
    for (name, url, address, allowed) in cases {
        for world in worlds(1, &rule(http(url))).await {
            let device = world.scenario.devices[0];
            world.verifying(device, address).await;
            world.check(&allowed).await;
            world.wait(299);
            world.check(&allowed).await;
            world.scenario.poll(device).await;
            world.wait(10);
            world.check(&allowed).await;
            world.scenario.poll(device).await;
            world.until(device, "inconclusive").await;
            let row = world.scenario.row(device).await;
            assert_eq!(row.reason.as_deref(), Some("checks_undecided"), "{name}");
            assert_eq!(row.verdict, None, "{name}");
            assert_eq!(row.check_at, None, "{name}");
            let events = world.scenario.events().await;
            assert_eq!(
                events.get(&EventType::DeviceInconclusive),
                Some(&1),
                "{name}"
            );
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody was asked");
}

#[tokio::test]
async fn redirects_huge_bodies_and_silence_lead_nowhere() {
    let (inside, reached) = server(&ok("secret")).await;
    let (redirecting, _) = server(&format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inside}/\r\ncontent-length: 0\r\n\r\n"
    ))
    .await;
    let (huge, _) = server(&ok(&format!("{}end", "x".repeat(1024 * 1024)))).await;
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = hanging.local_addr().unwrap().port();
    let ended = windlass_testkit::free_port();
    let cases = [
        ("a redirect", redirecting, "it answers 302"),
        ("a body beyond 64 KiB", huge, "its body does not contain"),
        ("an endless wait", hangs, "no answer in 1 s"),
        ("nobody there", ended, "refused"),
    ];
    for (name, port, said) in cases {
        let mut check = http(format!("http://{{address}}:{port}/"));
        check.body_contains = Some("end".to_owned());
        check.interval_seconds = 1;
        for world in worlds(1, &rule(check.clone())).await {
            let device = world.scenario.devices[0];
            world.verifying(device, Some("127.0.0.1")).await;
            world.check(&loopback()).await;
            let check = world.of_device(device).await;
            assert_eq!(check.failed_in_row, 1, "{name}");
            assert!(check.output.contains(said), "{name}: {}", check.output);
        }
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0, "no redirect is followed");
}

#[tokio::test]
async fn what_keeps_a_question_from_being_asked_is_no_answer() {
    // No connection leads to everybody; and no name ends like this (RFC 2606).
    let allowed = Allowed::new(&["255.255.255.255/32".to_owned(), "nobody.invalid".to_owned()]);
    let (allowed, everybody) = (allowed.unwrap(), "255.255.255.255");
    let mut tcp = Check::new(CheckKind::Tcp);
    tcp.from = Some(CheckFrom::Server);
    tcp.port = Some(1);
    let cases = [
        (
            "no name server knows it",
            http("http://nobody.invalid/".to_owned()),
        ),
        (
            "no way to it over HTTP",
            http("http://{address}/".to_owned()),
        ),
        ("no way to it", tcp),
    ];
    for (name, check) in cases {
        for world in worlds(1, &rule(check.clone())).await {
            let device = world.scenario.devices[0];
            world.verifying(device, Some(everybody)).await;
            world.check(&allowed).await;
            let check = world.of_device(device).await;
            let (status, said) = (check.status, check.output);
            assert_eq!(status, CheckStatus::Pending, "{name}: {said}");
            assert_eq!((check.tries, check.failed_in_row), (1, 0), "{name}: {said}");
        }
    }
    for url in ["http://nobody.invalid/", "http://255.255.255.255/"] {
        let mut check = Check::new(CheckKind::Custom);
        check.url = Some(url.to_owned());
        for (found, said) in gate(check, &allowed, 3).await {
            assert_eq!(found, CheckStatus::Pending, "{url}: {said}");
        }
    }
}

#[tokio::test]
async fn a_port_that_takes_connections_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut check = Check::new(CheckKind::Tcp);
    check.from = Some(CheckFrom::Server);
    check.port = Some(listener.local_addr().unwrap().port());
    for world in worlds(1, &rule(check)).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        world.check(&loopback()).await;
        assert_eq!(world.of_device(device).await.status, CheckStatus::Passed);
    }
}

#[tokio::test]
async fn two_replicas_never_try_one_check_at_the_same_time() {
    let (port, asked) = server(&ok("")).await;
    for world in worlds(20, &rule(http(format!("http://{{address}}:{port}/")))).await {
        for device in world.scenario.devices.clone() {
            world.verifying(device, Some("127.0.0.1")).await;
        }
        let allowed = loopback();
        let replica = || async {
            for _ in 0..10 {
                // What another got in the way of is tried again, as loops do.
                health::device_checks(&world.deps, &allowed, 7).await.ok();
            }
        };
        tokio::join!(replica(), replica(), replica());
        assert_eq!(asked.swap(0, Ordering::SeqCst), 20);
        // One that died with a check in its hands loses that try alone.
        let mut tx = world.deps.store.begin().await.unwrap();
        assert!(checks::claim(&mut tx, 100).await.unwrap().is_empty());
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_try_whose_time_was_over_is_not_written_down_over_the_next() {
    for world in worlds(1, &rule(http("http://{address}:1/".to_owned()))).await {
        let device = world.scenario.devices[0];
        world.verifying(device, Some("127.0.0.1")).await;
        let mut tx = world.deps.store.begin().await.unwrap();
        let first = checks::claim(&mut tx, 1).await.unwrap().remove(0);
        tx.commit().await.unwrap();
        world.wait(60);
        let mut tx = world.deps.store.begin().await.unwrap();
        let second = checks::claim(&mut tx, 1).await.unwrap().remove(0);
        assert_eq!((first.tries, second.tries), (1, 2));
        let late = checks::Tried {
            rollout: first.rollout,
            device,
            position: 0,
            tries: first.tries,
            status: CheckStatus::Passed,
            failed_in_row: 0,
            output: "late".to_owned(),
            next_at: None,
        };
        assert_eq!(checks::decide(&mut tx, &[late]).await.unwrap(), 0);
        tx.commit().await.unwrap();
        assert_eq!(world.of_device(device).await.status, CheckStatus::Pending);
    }
}

/// Runs the gate of a batch that is complete, with the clock moved on by so much between tries.
async fn gate(check: Check, allowed: &Allowed, tries: usize) -> Vec<(CheckStatus, String)> {
    let mut found = Vec::new();
    for world in worlds(2, &rule(check)).await {
        world
            .execute("UPDATE image_rollouts SET next_batch_at = $1, batch_count = 2")
            .await;
        for _ in 0..tries {
            health::gates(&world.deps, allowed, AT_ONCE).await.unwrap();
            world.wait(30);
        }
        let mut read = world.deps.store.read().await.unwrap();
        let checks = rollouts::checks(&mut read, world.scenario.rollout, 1)
            .await
            .unwrap();
        assert_eq!(checks.len(), 1);
        let decided = world
            .scenario
            .events()
            .await
            .get(&EventType::RolloutCheckDecided)
            .copied();
        let is_decided = checks[0].status != CheckStatus::Pending;
        assert_eq!(decided, is_decided.then_some(1));
        let summary = checks[0].evidence["summary"].as_str().unwrap().to_owned();
        found.push((checks[0].status, summary));
    }
    assert_eq!(found[0], found[1], "both databases");
    found
}

#[tokio::test]
async fn a_custom_gate_is_told_the_facts_and_decides() {
    use wiremock::matchers::{body_partial_json, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};
    let gates = MockServer::start().await;
    let custom = |place: &str| Check {
        url: Some(format!("{}/{place}", gates.uri())),
        ..Check::new(CheckKind::Custom)
    };
    for (place, status, body) in [
        ("pass", 200, r#"{"decision":"pass","reason":"calm"}"#),
        ("fail", 200, r#"{"decision":"fail","reason":"errors"}"#),
        ("wait", 200, r#"{"decision":"wait"}"#),
        ("broken", 500, ""),
        ("odd", 200, "yes"),
        ("nul", 200, r#"{"decision":"pass","reason":"ca\u0000lm"}"#),
    ] {
        Mock::given(method("POST"))
            .and(path(format!("/{place}")))
            .and(body_partial_json(json!({
                "batch": 1, "batches": 2, "tag": "v2", "repository": "registry:5000/demo/app",
                "devices": {"total": 2, "failed": 0},
            })))
            .respond_with(ResponseTemplate::new(status).set_body_string(body))
            .mount(&gates)
            .await;
    }
    let cases = [
        ("pass", 1, CheckStatus::Passed, "it answers pass: calm"),
        ("fail", 1, CheckStatus::Failed, "it answers fail: errors"),
        ("wait", 3, CheckStatus::Pending, "it answers wait"),
        ("wait", 12, CheckStatus::Inconclusive, "it answers wait"),
        ("broken", 2, CheckStatus::Pending, "it answers 500"),
        ("broken", 3, CheckStatus::Failed, "it answers 500"),
        ("odd", 3, CheckStatus::Failed, "its answer is not"),
        ("nul", 1, CheckStatus::Passed, "it answers pass: calm"),
    ];
    for (place, tries, status, said) in cases {
        for (found, summary) in gate(custom(place), &loopback(), tries).await {
            assert_eq!(found, status, "{place}");
            assert!(summary.starts_with(said), "{place}: {summary}");
        }
    }
    let none = Allowed::new(&[]).unwrap();
    for allowed in [none.clone(), none.or_any(true)] {
        for (found, summary) in gate(custom("pass"), &allowed, 1).await {
            assert_eq!(found, CheckStatus::Inconclusive);
            assert!(summary.contains("may not be asked"), "{summary}");
        }
    }
}

#[tokio::test]
async fn prometheus_is_asked_and_no_data_is_no_pass() {
    use wiremock::matchers::{method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};
    let prometheus = MockServer::start().await;
    let answers = [
        ("errors{tag=\"v2\"}", 200, r#"[{"value":[1,"0.2"]}]"#),
        ("errors{tag!=\"v2\"}", 200, r#"[{"value":[1,"0.1"]}]"#),
        ("none", 200, "[]"),
        ("zero", 200, r#"[{"value":[1,"0"]}]"#),
        ("nan", 200, r#"[{"value":[1,"NaN"]}]"#),
    ];
    for (query, status, result) in answers {
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#);
        Mock::given(method("GET"))
            .and(path("/under/api/v1/query"))
            .and(query_param("query", query))
            .respond_with(ResponseTemplate::new(status).set_body_string(body))
            .mount(&prometheus)
            .await;
    }
    let ask = |query: &str, baseline: Option<&str>| Check {
        url: Some(format!("{}/under/", prometheus.uri())),
        query: Some(query.to_owned()),
        baseline_query: baseline.map(str::to_owned),
        condition: Some(Condition {
            is: Comparison::Le,
            value: 1.5,
        }),
        ..Check::new(CheckKind::Prometheus)
    };
    let errors = "errors{tag=\"{tag}\"}";
    let others = "errors{tag!=\"{tag}\"}";
    let cases = [
        ("below", errors, None, 1, CheckStatus::Passed),
        (
            "twice the others",
            errors,
            Some(others),
            2,
            CheckStatus::Pending,
        ),
        ("thrice so", errors, Some(others), 3, CheckStatus::Failed),
        ("no data", "none", None, 12, CheckStatus::Inconclusive),
        ("no number", "nan", None, 12, CheckStatus::Inconclusive),
        (
            "no baseline",
            errors,
            Some("zero"),
            12,
            CheckStatus::Inconclusive,
        ),
        (
            "not known there",
            "other",
            None,
            12,
            CheckStatus::Inconclusive,
        ),
    ];
    for (name, query, baseline, tries, status) in cases {
        for (found, summary) in gate(ask(query, baseline), &loopback(), tries).await {
            assert_eq!(found, status, "{name}: {summary}");
        }
    }
}

#[tokio::test]
async fn gates_wait_for_the_delay_and_for_a_paused_rollout() {
    let mut check = Check::new(CheckKind::Custom);
    check.url = Some("http://127.0.0.1:1/".to_owned());
    for world in worlds(1, &rule(check)).await {
        let made = async || {
            health::gates(&world.deps, &loopback(), AT_ONCE)
                .await
                .unwrap();
            let mut read = world.deps.store.read().await.unwrap();
            rollouts::checks(&mut read, world.scenario.rollout, 1)
                .await
                .unwrap()
                .len()
        };
        assert_eq!(made().await, 0, "the batch is under way");
        world.wait(60);
        world
            .execute("UPDATE image_rollouts SET next_batch_at = $1, batch_count = 2")
            .await;
        world.wait(-30);
        assert_eq!(made().await, 0, "the delay is not over");
        world.wait(30);
        world
            .execute("UPDATE image_rollouts SET status = 'paused' WHERE created_at <= $1")
            .await;
        assert_eq!(made().await, 0, "it is paused");
        world
            .execute("UPDATE image_rollouts SET status = 'in_progress' WHERE created_at <= $1")
            .await;
        assert_eq!(made().await, 1);
    }
}

#[tokio::test]
async fn a_gate_that_cannot_be_written_down_does_not_keep_the_others_from_it() {
    let (refusing, _) = server(&ok(r#"{"decision":"fail"}"#)).await;
    let slow = wiremock::MockServer::start().await;
    let answer = wiremock::ResponseTemplate::new(200)
        .set_body_string(r#"{"decision":"pass"}"#)
        .set_delay(Duration::from_millis(500));
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(answer)
        .mount(&slow)
        .await;
    let mut rule = RolloutRule::default();
    rule.health.checks = [format!("http://127.0.0.1:{refusing}/"), slow.uri()]
        .map(|url| Check {
            url: Some(url),
            ..Check::new(CheckKind::Custom)
        })
        .to_vec();
    for world in worlds(1, &rule).await {
        world
            .execute("UPDATE image_rollouts SET next_batch_at = $1, batch_count = 2")
            .await;
        let mut tx = world.deps.store.begin().await.unwrap();
        let refuse = match tx.kind() {
            Kind::Postgres => {
                "ALTER TABLE rollout_checks ADD CONSTRAINT never CHECK (status <> 'failed')"
            }
            Kind::Sqlite => {
                "CREATE TRIGGER never BEFORE UPDATE ON rollout_checks \
                 WHEN NEW.status = 'failed' BEGIN SELECT RAISE(ABORT, 'never'); END"
            }
        };
        tx.sql(refuse).execute().await.unwrap();
        tx.commit().await.unwrap();
        health::gates(&world.deps, &loopback(), AT_ONCE)
            .await
            .unwrap();
        let mut read = world.deps.store.read().await.unwrap();
        let checks = rollouts::checks(&mut read, world.scenario.rollout, 1)
            .await
            .unwrap();
        let statuses: Vec<_> = checks.iter().map(|check| check.status).collect();
        assert_eq!(statuses, [CheckStatus::Pending, CheckStatus::Passed]);
    }
}

#[tokio::test]
async fn a_rollout_that_cannot_be_read_stops_nobody_elses_gates() {
    let (port, _) = server(&ok(r#"{"decision":"wait"}"#)).await;
    let mut check = Check::new(CheckKind::Custom);
    check.url = Some(format!("http://127.0.0.1:{port}/"));
    for world in worlds(1, &rule(check.clone())).await {
        let other = Scenario::begin(&world.deps.store, 1, &rule(check.clone())).await;
        world
            .execute("UPDATE image_rollouts SET next_batch_at = $1, batch_count = 2")
            .await;
        let tries = async || {
            world.wait(60);
            health::gates(&world.deps, &loopback(), AT_ONCE)
                .await
                .unwrap();
            let mut read = world.deps.store.read().await.unwrap();
            let checks = rollouts::checks(&mut read, other.rollout, 1).await.unwrap();
            checks[0].evidence["tries"].clone()
        };
        let write = async |rule: Value| {
            let mut tx = world.deps.store.begin().await.unwrap();
            tx.sql("UPDATE image_rollouts SET rule = $1 WHERE id = $2")
                .bind(Json(rule))
                .bind(world.scenario.rollout.0)
                .execute()
                .await
                .unwrap();
            tx.commit().await.unwrap();
        };
        write(json!("a rule of next year")).await;
        assert_eq!(tries().await, 1, "its gates are not made yet");
        write(json!(rule(check.clone()))).await;
        assert_eq!(tries().await, 2);
        write(json!("a rule of next year")).await;
        assert_eq!(tries().await, 3, "its gates are due");
    }
}

#[tokio::test]
async fn what_is_no_target_keeps_the_service_from_starting() {
    let kept = windlass_testkit::sqlite().await;
    let deps = Deps::new(kept.store.clone(), Bus::local());
    let mut config = windlass_service::config::Config::default();
    config.health.allowed_targets = vec!["10.0.0.1/8".to_owned()];
    let error = health::part(&config, &deps).await.err().unwrap();
    assert!(
        error.to_string().contains("health.allowed_targets"),
        "{error}"
    );
}
