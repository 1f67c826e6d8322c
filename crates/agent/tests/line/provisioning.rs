//! Becoming known.

use crate::stand_in::{Bench, PATIENCE, problem};
use serde_json::Value;
use windlass_agent::state::REGISTERED;
use windlass_testkit::eventually;
use wiremock::ResponseTemplate;

#[tokio::test]
async fn it_registers_with_the_same_identity_for_as_long_as_it_takes() {
    let bench = Bench::new().await;
    bench
        .answer_first(2, "POST", "/device/register", problem(503))
        .await;
    bench
        .answer_first(
            1,
            "POST",
            "/device/register",
            ResponseTemplate::new(200).set_body_string("<html>a proxy</html>"),
        )
        .await;
    bench.admits().await;
    let state = format!("/device/{}/state", bench.uuid());
    bench
        .answer("GET", &state, ResponseTemplate::new(304))
        .await;
    bench.link();
    eventually("the server knows it", PATIENCE, async || {
        bench.line.is_confirmed()
    })
    .await;
    let calls = bench.calls("POST", "/device/register").await;
    assert_eq!(calls.len(), 4);
    for call in &calls {
        let body: Value = call.body_json().unwrap();
        assert_eq!(body["uuid"], bench.uuid());
        assert_eq!(body["deviceApiKey"], bench.line.identity.key);
        assert!(!body["deviceName"].as_str().unwrap().is_empty());
        assert_eq!(body["deviceType"], "standalone");
        assert_eq!(call.headers["authorization"], "Bearer a provisioning key");
    }
    assert_eq!(bench.line.standing.borrow().trouble, None);
}

#[tokio::test]
async fn a_device_that_is_registered_shows_its_key_and_needs_no_provisioning_key_any_more() {
    let mut bench = Bench::new().await;
    bench.admits().await;
    bench.state().write(REGISTERED, &Value::Null).unwrap();
    bench.config.provisioning_key = None;
    bench.link();
    eventually("the server knows it", PATIENCE, async || {
        bench.line.is_confirmed()
    })
    .await;
    assert!(bench.calls("POST", "/device/register").await.is_empty());
}

#[tokio::test]
async fn what_a_person_must_mend_is_told_and_tried_again_slowly() {
    for (status, advice) in [
        (401, "create-provisioning"),
        (409, "state directory was copied"),
    ] {
        let bench = Bench::new().await;
        bench
            .answer("POST", "/device/register", problem(status))
            .await;
        bench.link();
        let trouble = || bench.line.standing.borrow().trouble.clone();
        eventually("it is told", PATIENCE, async || trouble().is_some()).await;
        let told = trouble().unwrap();
        assert!(told.message.contains(advice), "{told:?}");
        // The longest wait at once, not the first one.
        let wait = told.next_try_at - told.since;
        assert!(wait.num_milliseconds() >= 1000, "{told:?}");
        assert!(!bench.line.is_confirmed());
    }
}

#[tokio::test]
async fn a_device_that_was_deleted_on_the_server_registers_again() {
    let bench = Bench::new().await;
    bench.state().write(REGISTERED, &Value::Null).unwrap();
    let exchange = format!("/device/{}/key-exchange", bench.uuid());
    bench.answer_first(1, "POST", &exchange, problem(404)).await;
    bench.admits().await;
    bench.link();
    eventually("the server knows it", PATIENCE, async || {
        bench.line.is_confirmed()
    })
    .await;
    assert_eq!(bench.calls("POST", "/device/register").await.len(), 1);
}
