//! Polls are found past the router; whatever is written otherwise is found by it, and told the same.

use crate::api::Api;
use reqwest::{Method, StatusCode};

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_writing_a_poll_is_answered_alike_and_counted_under_one_route() {
    let test = windlass_testkit::sqlite().await;
    let api = Api::start(test.store.clone()).await;
    let device = api.device().await;
    let usual = device.uuid.to_string();
    let written = [
        (Method::GET, usual.clone()),
        (Method::HEAD, usual.clone()),
        (Method::GET, usual.to_uppercase()),
        (Method::GET, device.uuid.simple().to_string()),
        (
            Method::GET,
            format!("%{:02x}{}", usual.as_bytes()[0], &usual[1..]),
        ),
    ];
    for (method, uuid) in &written {
        for (tag, wait, status) in [
            ("\"1\"", "wait=0", StatusCode::NOT_MODIFIED),
            ("\"1\"", "wait=1", StatusCode::NOT_MODIFIED),
            ("\"0\"", "wait=1", StatusCode::OK),
        ] {
            let asked = api
                .request(method.clone(), &format!("/device/{uuid}/state"))
                .header("X-Device-API-Key", &device.key)
                .header("If-None-Match", tag)
                .header("Prefer", wait);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.status(), status, "{method} {uuid} {tag} {wait}");
            assert_eq!(answer.headers()["etag"], "\"1\"");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        }
        for (name, key) in [("X-Device-API-Key", "another"), ("X-Other", "none at all")] {
            let asked = api.request(method.clone(), &format!("/device/{uuid}/state"));
            let answer = asked.header(name, key).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
            let kind = answer.headers()["content-type"].to_str().unwrap();
            assert!(kind.starts_with("application/problem+json"), "{kind}");
        }
    }
    let page = api.http.get(api.base.replace("/api/v1", "/metrics"));
    let page = page.send().await.unwrap().text().await.unwrap();
    let counted = |status: &str| -> u64 {
        page.lines()
            .filter(|line| line.starts_with("windlass_http_requests_total{"))
            .filter(|line| line.contains("route=\"/api/v1/device/{uuid}/state\""))
            .filter(|line| line.contains(&format!("status=\"{status}\"")))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    let ways = written.len() as u64;
    assert_eq!(counted("304"), 2 * ways);
    assert_eq!(counted("200"), ways);
    assert_eq!(counted("401"), 2 * ways);
    let other = api.request(Method::DELETE, &format!("/device/{usual}/state"));
    let answer = other.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()["allow"], "GET");
}
