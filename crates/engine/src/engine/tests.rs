#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// An engine that knows the API up to this version, and what it was asked.
async fn knowing(version: &'static str) -> (Engine, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    break;
                };
                head.push(byte);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            log.lock().await.push(path);
            let body = format!(r#"{{"ApiVersion": "{version}", "MinAPIVersion": "1.12"}}"#);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (Engine::new(Address::Http(host)), asked)
}

#[tokio::test]
async fn requests_name_the_highest_version_that_both_sides_know() {
    for (knows, agreed) in [
        ("1.41", "/v1.41/info".to_owned()),
        (
            "1.999",
            format!(
                "/v{}.{}/info",
                API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version
            ),
        ),
    ] {
        let (engine, asked) = knowing(knows).await;
        let answered = engine
            .call("info", QUICK, |docker| async move { docker.info().await })
            .await;
        assert!(answered.is_ok(), "{answered:?}");
        assert_eq!(asked.lock().await.last(), Some(&agreed), "{knows}");
    }
}
