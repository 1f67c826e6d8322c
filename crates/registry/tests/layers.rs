//! How large images are, asked of a real registry.
#![expect(clippy::unwrap_used, reason = "tests are to fail loudly")]

use serde_json::json;
use windlass_registry::{Credentials, Error, Layer, Options, Platform, Registry};
use windlass_testkit::{DEVICE, Registry as Server};
use windlass_types::image::Repository;

fn client(host: &str, credentials: Option<(&str, &str)>) -> Registry {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let mut options = Options {
        http_hosts: [host.to_owned()].into(),
        ..Options::default()
    };
    if let Some((user, password)) = credentials {
        let known = Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        options.credentials.insert(host.to_owned(), known);
    }
    Registry::new(options).unwrap()
}

/// Of an index the image for this processor.
fn of(processor: &'static str) -> impl Fn(&[Platform]) -> Option<usize> + Send {
    move |platforms| platforms.iter().position(|p| p.architecture == processor)
}

async fn layers(
    server: &Server,
    version: &str,
    processor: &'static str,
) -> Result<Vec<Layer>, Error> {
    let repository = Repository::new(&server.host, "demo/app").unwrap();
    client(&server.host, None)
        .layers(&repository, version, of(processor))
        .await
}

#[tokio::test]
async fn the_layers_of_an_image_are_told_with_their_size_and_content() {
    let server = Server::start(&[]).await;
    let digest = server.push("demo/app", "v1", &"text ".repeat(1000)).await;
    for version in ["v1", &digest] {
        let found = layers(&server, version, "none").await.unwrap();
        let [layer] = found.as_slice() else {
            panic!("{found:?}")
        };
        // 5000 bytes of the same words, packed.
        assert!((50..2000).contains(&layer.bytes), "{layer:?}");
        assert!(layer.packed);
        assert!(layer.content.as_ref().unwrap().starts_with("sha256:"));
    }
    assert!(matches!(
        layers(&server, "v2", "none").await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn of_an_index_the_image_that_is_meant_counts() {
    let server = Server::start(&[]).await;
    server
        .push_index("demo/app", "v1", &["amd64", "arm64"], "content")
        .await;
    assert_eq!(layers(&server, "v1", "arm64").await.unwrap().len(), 1);
    let error = layers(&server, "v1", "s390x").await.unwrap_err();
    assert!(matches!(error, Error::Other { .. }), "{error}");
}

#[tokio::test]
async fn what_an_index_does_not_say_of_one_image_hides_no_other() {
    let server = Server::start(&[]).await;
    let digest = server.push("demo/app", "v1", "content").await;
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let child = |platform| json!({"mediaType": manifest, "digest": digest, "size": 1, "platform": platform});
    let children = [
        child(json!({"architecture": "arm64"})),
        child(json!({"os": "unknown", "architecture": "unknown"})),
        child(json!({"os": "linux", "architecture": "amd64"})),
    ];
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": children});
    let index = index.to_string().into_bytes();
    server.push_manifest("demo/app", "v2", kind, index).await;
    assert_eq!(layers(&server, "v2", "amd64").await.unwrap().len(), 1);
    for other in ["arm64", "unknown"] {
        assert!(layers(&server, "v2", other).await.is_err(), "{other}");
    }
}

#[tokio::test]
async fn a_private_registry_tells_who_has_credentials() {
    let server = Server::start_private().await;
    server.push("demo/app", "v1", "content").await;
    let repository = Repository::new(&server.host, "demo/app").unwrap();
    let ask = async |client: Registry| client.layers(&repository, "v1", of("amd64")).await;
    let known = ask(client(&server.host, Some(DEVICE))).await.unwrap();
    assert_eq!(known.len(), 1);
    let error = ask(client(&server.host, None)).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}
