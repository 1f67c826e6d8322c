//! What cannot be read is refused before it is parsed.

use crate::support::{Service, answer, config, digest, ghcr};
use windlass_service::config::Config;
use windlass_testkit::stores;

fn small() -> Config {
    let mut config = config();
    config.webhooks.max_body_bytes = 1000;
    config
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_its_length_is_told_or_not() {
    let test = windlass_testkit::sqlite().await;
    let service = Service::start_with(&test.store, &small()).await;
    let body = |bytes: usize| format!("{{\"events\":[]{}}}", " ".repeat(bytes - 13));
    let (status, got) = answer(service.post("open").body(body(1000))).await;
    assert_eq!(status, 202, "{got}");
    let (status, problem) = answer(service.post("open").body(body(1001))).await;
    assert_eq!(status, 413, "{problem}");
    // In chunks, so that no length is told beforehand.
    let chunks = |bytes: usize| {
        let chunks: Vec<Result<Vec<u8>, std::io::Error>> = body(bytes)
            .into_bytes()
            .chunks(100)
            .map(|chunk| Ok(chunk.to_vec()))
            .collect();
        reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
    };
    let (status, problem) = answer(service.post("open").body(chunks(1001))).await;
    assert_eq!(status, 413, "{problem}");
    let (status, got) = answer(service.post("open").body(chunks(999))).await;
    assert_eq!(status, 202, "{got}");
    // Far more than fits into the buffers on the way.
    for large in [
        service.post("open").body(body(8_000_000)),
        service.post("open").body(chunks(8_000_000)),
    ] {
        let (status, problem) = answer(large).await;
        assert_eq!(status, 413, "{problem}");
    }
    // The limit comes before the secret: who has none cannot make us read more.
    let (status, _) = answer(service.post("docker-registry").body(body(1001))).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let test = windlass_testkit::sqlite().await;
    let service = Service::start(&test.store).await;
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("text", b"hello".to_vec()),
        ("cut off", b"{\"events\":[".to_vec()),
        ("no UTF-8", b"{\"events\":[\"\xff\"]}".to_vec()),
        ("nobody's", b"{\"hello\":1}".to_vec()),
        ("null", b"null".to_vec()),
        ("very deep", "[".repeat(100_000).into_bytes()),
    ];
    for (what, body) in cases {
        let (status, problem) = answer(service.post("open").body(body)).await;
        assert_eq!(status, 400, "{what}: {problem}");
        assert_eq!(problem["type"], "urn:windlass:problem:malformed", "{what}");
    }
    let url = format!("{}/open", service.url);
    let form = service
        .client
        .post(&url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("payload=%7B%7D");
    let (status, problem) = answer(form).await;
    assert_eq!(status, 415);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("application/json")
    );
    let packed = service
        .post("open")
        .header("content-encoding", "gzip")
        .body("x");
    assert_eq!(answer(packed).await.0, 415);
    let (status, _) = answer(service.client.get(&url)).await;
    assert_eq!(status, 405);
    // What could not be read is kept, for a later program to read; what is of another type is not.
    let kept = "SELECT COUNT(*) FROM webhook_deliveries WHERE rejected IS NOT NULL";
    assert_eq!(service.count(kept).await, 7);
    let all = "SELECT COUNT(*) FROM webhook_deliveries";
    assert_eq!(service.count(all).await, 7);
}

#[tokio::test]
async fn nothing_is_taken_while_the_store_is_away() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
        service.deliver("open", &sent).await;
        test.store.close().await;
        let response = sent.on(service.post("open")).send().await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
    }
}
