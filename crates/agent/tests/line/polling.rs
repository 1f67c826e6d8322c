//! Asking for the target.

use crate::stand_in::{Bench, PATIENCE, problem};
use serde_json::{Value, json};
use std::time::Duration;
use windlass_agent::link::Offer;
use windlass_testkit::eventually;
use wiremock::ResponseTemplate;

fn target(bench: &Bench, version: i64) -> Value {
    json!({ bench.uuid(): {"apps": {}, "config": {}, "version": version} })
}

fn answer(etag: &str, body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200)
        .insert_header("etag", etag)
        .set_body_json(body)
}

#[tokio::test]
async fn the_etag_is_echoed_as_it_is_and_the_server_may_hold_the_poll() {
    let bench = Bench::new().await;
    bench.admits().await;
    let state = format!("/device/{}/state", bench.uuid());
    bench
        .answer_first(1, "GET", &state, answer("\"one\"", target(&bench, 1)))
        .await;
    bench
        .answer_first(1, "GET", &state, ResponseTemplate::new(304))
        .await;
    bench
        .answer_first(1, "GET", &state, answer("\"two\"", target(&bench, 2)))
        .await;
    let held = ResponseTemplate::new(304).set_delay(Duration::from_secs(1));
    bench.answer("GET", &state, held).await;
    let mut offers = bench.link();
    offers
        .wait_for(|offer| matches!(offer, Offer::Target(target) if target.version == 2))
        .await
        .unwrap();
    eventually("it asks on", PATIENCE, async || {
        bench.calls("GET", &state).await.len() >= 5
    })
    .await;
    let calls = bench.calls("GET", &state).await;
    let etags: Vec<Option<&str>> = calls
        .iter()
        .map(|call| Some(call.headers.get("if-none-match")?.to_str().unwrap()))
        .collect();
    assert_eq!(
        etags[..5],
        [
            None,
            Some("\"one\""),
            Some("\"one\""),
            Some("\"two\""),
            Some("\"two\"")
        ]
    );
    assert!(calls[0].headers.get("prefer").is_none());
    assert_eq!(calls[1].headers["prefer"], "wait=1");
    assert_eq!(
        calls[0].headers["x-device-api-key"],
        bench.line.identity.key
    );
}

#[tokio::test]
async fn what_is_no_target_takes_nothing_away() {
    let bench = Bench::new().await;
    bench.admits().await;
    let state = format!("/device/{}/state", bench.uuid());
    bench
        .answer_first(1, "GET", &state, answer("\"one\"", target(&bench, 1)))
        .await;
    bench
        .answer_first(1, "GET", &state, answer("\"two\"", json!({})))
        .await;
    bench.answer_first(2, "GET", &state, problem(500)).await;
    bench
        .answer("GET", &state, answer("\"three\"", target(&bench, 3)))
        .await;
    let mut offers = bench.link();
    let mut seen = Vec::new();
    loop {
        offers.changed().await.unwrap();
        let offer = offers.borrow_and_update().clone();
        match &offer {
            Offer::Target(target) => seen.push(Some(target.version)),
            Offer::NoTarget(_) => seen.push(None),
            Offer::None => {}
        }
        if seen.last() == Some(&Some(3)) {
            break;
        }
    }
    // A task that is woken late may miss what was overtaken; nothing else may come.
    seen.dedup();
    assert!(
        seen.iter().all(|s| matches!(s, Some(1 | 3) | None)),
        "{seen:?}"
    );
    eventually("the trouble is over", PATIENCE, async || {
        bench.line.standing.borrow().trouble.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_server_that_forgot_the_device_is_told_of_it_again() {
    let bench = Bench::new().await;
    bench.admits().await;
    let state = format!("/device/{}/state", bench.uuid());
    bench.answer_first(1, "GET", &state, problem(404)).await;
    bench
        .answer("GET", &state, answer("\"one\"", target(&bench, 1)))
        .await;
    let mut offers = bench.link();
    offers
        .wait_for(|offer| matches!(offer, Offer::Target(_)))
        .await
        .unwrap();
    let exchange = format!("/device/{}/key-exchange", bench.uuid());
    assert_eq!(bench.calls("POST", &exchange).await.len(), 2);
}
