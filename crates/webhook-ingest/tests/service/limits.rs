//! Who delivers too often or too slowly.

use crate::support::{Service, answer, config, digest, ghcr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use windlass_testkit::eventually;

#[tokio::test]
async fn an_address_that_delivers_too_often_is_told_when_to_come_again() {
    let test = windlass_testkit::sqlite().await;
    let mut config = config();
    config.webhooks.requests_per_minute = 5;
    config.webhooks.trusted_proxies = vec!["127.0.0.0/8".to_owned()];
    let service = Service::start_with(&test.store, &config).await;
    let send = async |endpoint: &str, number: u32, address: Option<&str>| {
        let sent = ghcr(
            "package",
            &number.to_string(),
            "v1",
            Some(&digest(number)),
            number,
        );
        let mut request = sent.on(service.post(endpoint));
        if let Some(address) = address {
            request = request.header("x-forwarded-for", address);
        }
        request.send().await.unwrap()
    };
    for number in 0..5 {
        assert_eq!(send("open", number, None).await.status(), 202);
    }
    let response = send("open", 5, None).await;
    assert_eq!(response.status(), 429);
    let wait: u64 = response.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=13).contains(&wait), "{wait}");
    let problem: serde_json::Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:windlass:problem:too-many-requests");
    // Another endpoint and, behind a proxy that is trusted, another address have counts of their own.
    assert_eq!(send("open-two", 6, None).await.status(), 202);
    assert_eq!(send("open", 7, Some("203.0.113.9")).await.status(), 202);
    let forged = "203.0.113.9, 127.0.0.1";
    for number in 8..12 {
        assert_eq!(send("open", number, Some(forged)).await.status(), 202);
    }
    assert_eq!(send("open", 12, Some(forged)).await.status(), 429);
    // It is counted before the body is looked at, and before the secret.
    let (status, _) = answer(service.post("open").body("x".repeat(2_000_000))).await;
    assert_eq!(status, 429);
}

#[tokio::test]
async fn a_sender_of_a_byte_a_second_is_cut_off() {
    let test = windlass_testkit::sqlite().await;
    let mut config = config();
    config.webhooks.body_timeout_seconds = 2;
    config.http.request_timeout_seconds = 2;
    let service = Service::start_with(&test.store, &config).await;
    let address = service.url.split('/').nth(2).unwrap().to_owned();
    let head = format!(
        "POST /api/v1/webhooks/open HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: 1000\r\n\r\n"
    );
    // One is slow with its body, the other with its head.
    for (what, at_once, status) in [("body", head.as_str(), "408"), ("head", "POST /api", "408")] {
        let mut socket = TcpStream::connect(&address).await.unwrap();
        socket.write_all(at_once.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = socket.into_split();
        let begun = Instant::now();
        let dribbling = tokio::spawn(async move {
            while writer.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let mut answer = Vec::new();
        // The connection is closed, by an end or by a reset.
        let read = tokio::time::timeout(Duration::from_secs(20), reader.read_to_end(&mut answer));
        read.await.expect("the connection ends").ok();
        let took = begun.elapsed();
        dribbling.abort();
        assert!(took < Duration::from_secs(10), "{what}: {took:?}");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{what}: {answer}"
        );
    }
    // Nobody else was held up.
    eventually("a delivery is taken", Duration::from_secs(5), async || {
        let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
        sent.on(service.post("open")).send().await.unwrap().status() == 202
    })
    .await;
}
