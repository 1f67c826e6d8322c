//! The registry over HTTP, as a client of registries sees it.

#![expect(
    clippy::unwrap_used,
    reason = "what fails in a test is to end the test"
)]

use serde_json::Value;
use std::net::TcpListener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windlass_simulator::{Notify, Registry};

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Takes one request, answers 202, and returns the request as it came.
async fn take_one(listener: tokio::net::TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut text = String::new();
    loop {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length: usize = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_owned)
            })
            .unwrap()
            .parse()
            .unwrap();
        if body.len() >= length {
            break;
        }
    }
    stream
        .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        .await
        .unwrap();
    text
}

#[tokio::test]
async fn a_push_is_told_as_distribution_tells_it() {
    let hook = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", hook.local_addr().unwrap());
    let taken = tokio::spawn(take_one(hook));
    let notify = Notify {
        url,
        authorization: Some("Bearer s3cret".to_owned()),
    };
    let registry = Registry::start(listener(), Some(notify)).unwrap();
    let digest = registry.push("demo/app", "v1", "one").await.unwrap();
    let request = taken.await.unwrap();
    assert!(
        request
            .to_ascii_lowercase()
            .contains("authorization: bearer s3cret"),
        "{request}"
    );
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let event = &body["events"][0];
    assert_eq!(event["action"], "push");
    assert_eq!(event["target"]["repository"], "demo/app");
    assert_eq!(event["target"]["tag"], "v1");
    assert_eq!(event["target"]["digest"], digest.as_str());
    assert_eq!(event["request"]["host"], registry.host().as_str());
    assert_eq!(Registry::digest_of("one"), Some(digest));
}

#[tokio::test]
async fn digests_are_found_by_tag_and_manifests_by_digest() {
    let registry = Registry::start(listener(), None).unwrap();
    let one = registry.push("demo/app", "v1", "one").await.unwrap();
    let two = registry.push("demo/app", "v2", "two").await.unwrap();
    assert_ne!(one, two);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{}/v2/{path}", registry.host());
    let head = client
        .head(url("demo/app/manifests/v2"))
        .send()
        .await
        .unwrap();
    assert_eq!(head.headers()["docker-content-digest"], two.as_str());
    assert!(
        head.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    let body: Value = client
        .get(url(&format!("demo/app/manifests/{one}")))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let config = body["config"]["digest"].as_str().unwrap();
    let blob = client
        .get(url(&format!("demo/app/blobs/{config}")))
        .send()
        .await
        .unwrap();
    assert!(blob.status().is_success());
    let tags: Value = client
        .get(url("demo/app/tags/list"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(tags["tags"], serde_json::json!(["v1", "v2"]));
    let missing = client
        .get(url("demo/app/manifests/v9"))
        .send()
        .await
        .unwrap();
    assert_eq!(missing.status().as_u16(), 404);
}

#[tokio::test]
async fn a_manifest_pushed_over_http_is_there_under_its_tag() {
    let registry = Registry::start(listener(), None).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/v2/team/deep/app/manifests/v1", registry.host());
    let put = client
        .put(&url)
        .header("content-type", "application/vnd.oci.image.manifest.v1+json")
        .body(r#"{"schemaVersion":2}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(put.status().as_u16(), 201);
    let got = client.get(&url).send().await.unwrap();
    assert_eq!(
        got.headers()["docker-content-digest"],
        put.headers()["docker-content-digest"]
    );
    assert_eq!(got.text().await.unwrap(), r#"{"schemaVersion":2}"#);
}
