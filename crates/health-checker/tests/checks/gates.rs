//! Checks that a batch waits for.

use crate::world::{AT_ONCE, loopback, ok, rule, server, worlds};
use serde_json::{Value, json};
use std::time::Duration;
use windlass_core::checks::Allowed;
use windlass_health_checker as health;
use windlass_store::{Json, Kind, rollouts};
use windlass_testkit::scenario::Scenario;
use windlass_types::event::EventType;
use windlass_types::policy::{Check, CheckKind, Comparison, Condition, RolloutRule};
use windlass_types::rollout::CheckStatus;

/// Runs the gate of a batch that is complete, with the clock moved on by so much between tries.
pub(crate) async fn gate(
    check: Check,
    allowed: &Allowed,
    tries: usize,
) -> Vec<(CheckStatus, String)> {
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
