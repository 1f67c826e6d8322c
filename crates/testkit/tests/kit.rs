//! The kit itself does what it says.

use std::process::Command;
use std::time::Duration;
use windlass_store::Kind;
use windlass_testkit::{RedisServer, Registry, eventually, stores};

#[tokio::test]
async fn each_database_is_new_answers_and_is_gone_afterwards() {
    let mut postgres = String::new();
    for test in stores().await {
        test.store.ping().await.unwrap();
        let again = test.open_again().await;
        assert_eq!(again.kind(), test.store.kind());
        if test.store.kind() == Kind::Postgres {
            postgres.clone_from(&test.url);
        }
    }
    let gone = windlass_store::Store::open(&windlass_store::Options::new(&postgres)).await;
    assert!(gone.is_err(), "{postgres} is still there");
}

#[tokio::test]
async fn redis_is_killed_and_comes_back_on_the_same_port() {
    let mut redis = RedisServer::start().await;
    let place = redis.url.trim_start_matches("redis://").to_owned();
    redis.kill();
    assert!(std::net::TcpStream::connect(&place).is_err());
    redis.restart().await;
    assert!(std::net::TcpStream::connect(&place).is_ok());
}

#[tokio::test]
async fn an_image_is_pushed_and_kept_over_a_restart() {
    let mut registry = Registry::start(&[]).await;
    let first = registry.push("demo/app", "v1", "one").await;
    let second = registry.push("demo/app", "v1", "two").await;
    assert_ne!(first, second);
    registry.kill();
    registry.restart().await;
    let url = format!("http://{}/v2/demo/app/manifests/v1", registry.host);
    let answer = windlass_testkit::http()
        .head(url)
        .header("accept", "application/vnd.oci.image.manifest.v1+json")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["docker-content-digest"], second.as_str());
    let listed = Command::new("skopeo").arg("--version").output();
    if listed.is_ok() {
        // Where the tool is there it must read the image too: manifest, configuration and layer.
        let image = format!("docker://{}/demo/app:v1", registry.host);
        let read = Command::new("skopeo")
            .args(["inspect", "--tls-verify=false", &image])
            .output()
            .unwrap();
        assert!(read.status.success(), "{read:?}");
    }
}

#[tokio::test]
#[should_panic(expected = "a pig flies")]
async fn waiting_has_an_end() {
    eventually("a pig flies", Duration::from_millis(50), async || false).await;
}
