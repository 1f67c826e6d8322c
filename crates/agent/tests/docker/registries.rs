//! Registries that let only some in.

use crate::bench::{Bench, web};
use windlass_testkit::{DEVICE, Registry};

#[tokio::test]
async fn a_private_registry_lets_in_who_has_credentials() {
    let registry = Registry::start_private().await;
    let v1 = registry.push_app("demo/private", "v1", &[]).await;
    let mut device = Bench::new().await;
    device.server.wants(&[web(&v1)]);
    device.start(&[]);
    device.tells("web", "auth").await;
    assert!(device.containers().await.is_empty());

    // As `docker login` writes it: the base64 of device:secret.
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let text = format!(
        r#"{{"auths":{{"{}":{{"auth":"ZGV2aWNlOnNlY3JldA=="}}}}}}"#,
        registry.host
    );
    std::fs::write(&config, text).unwrap();
    device.agent().terminate();
    device.start(&[(
        "WINDLASS_AGENT_REGISTRY_DOCKER_CONFIG",
        config.to_str().unwrap(),
    )]);
    device.settles("web", &v1).await;
}

#[tokio::test]
async fn an_image_comes_from_its_mirror_where_the_registry_is_gone() {
    let origin = Registry::start(&[]).await;
    let mirror = Registry::start(&[]).await;
    let v1 = origin.push_app("demo/mirrored", "v1", &[]).await;
    mirror.push_app("demo/mirrored", "v1", &[]).await;
    let host = origin.host.clone();
    drop(origin);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    let text = format!("[registry.mirrors]\n\"{host}\" = \"{}\"\n", mirror.host);
    std::fs::write(&file, text).unwrap();
    let mut device = Bench::new().await;
    device.server.wants(&[web(&v1)]);
    device.start(&[("WINDLASS_AGENT_CONFIG", file.to_str().unwrap())]);
    device.settles("web", &v1).await;
}

#[tokio::test]
async fn credentials_in_a_file_of_their_own_are_as_good() {
    let registry = Registry::start_private().await;
    let v1 = registry.push_app("demo/private", "v1", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{}:{}\n", DEVICE.0, DEVICE.1)).unwrap();
    let file = folder.path().join("agent.toml");
    let text = format!(
        "[registry.credential_files]\n\"{}\" = \"{}\"\n",
        registry.host,
        secret.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut device = Bench::new().await;
    device.server.wants(&[web(&v1)]);
    device.start(&[("WINDLASS_AGENT_CONFIG", file.to_str().unwrap())]);
    device.settles("web", &v1).await;
}
