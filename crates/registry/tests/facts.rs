//! What digests hold.
#![expect(clippy::unwrap_used, reason = "tests are to fail loudly")]

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use windlass_registry::{Error, ImageFacts, Options, Registry};
use windlass_types::image::{Digest, Repository};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A registry that holds what it is given.
struct Holds {
    server: MockServer,
}

impl Holds {
    async fn nothing() -> Self {
        let server = MockServer::start().await;
        Mock::given(path("/v2/"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        Self { server }
    }

    async fn put(&self, kind: &str, media_type: &str, content: &Value) -> Digest {
        let bytes = content.to_string().into_bytes();
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        Mock::given(path(format!("/v2/demo/app/{kind}/{digest}")))
            .respond_with(ResponseTemplate::new(200).set_body_raw(bytes, media_type))
            .mount(&self.server)
            .await;
        digest.parse().unwrap()
    }

    async fn image(&self, architecture: &str, created: &str) -> Digest {
        let config = json!({"os": "linux", "architecture": architecture, "created": created});
        let config = self.put("blobs", CONFIG, &config).await;
        self.manifest(CONFIG, &config, LAYER).await
    }

    async fn manifest(&self, config_type: &str, config: &Digest, layer: &str) -> Digest {
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": config_type, "digest": config, "size": 1},
            "layers": [{"mediaType": layer, "digest": config, "size": 1}],
        });
        self.put("manifests", MANIFEST, &manifest).await
    }

    async fn index(&self, children: Value) -> Digest {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        self.put("manifests", INDEX, &index).await
    }

    async fn facts(&self, digest: &Digest) -> Result<ImageFacts, Error> {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let host = self.server.address().to_string();
        let repository = Repository::new(&host, "demo/app").unwrap();
        Registry::new(Options {
            http_hosts: [host].into(),
            timeout: Some(Duration::from_secs(5)),
            ..Options::default()
        })
        .unwrap()
        .facts(&repository, digest)
        .await
    }
}

fn shown(facts: &ImageFacts) -> (Vec<String>, Option<String>, bool) {
    (
        facts.platforms.iter().map(ToString::to_string).collect(),
        facts.created.map(|at| at.to_rfc3339()),
        facts.artifact,
    )
}

#[tokio::test]
async fn an_index_tells_its_platforms_without_attestations() {
    let holds = Holds::nothing().await;
    let amd = holds.image("amd64", "2026-03-04T05:06:07.5Z").await;
    let arm = holds.image("arm", "2026-03-04T05:06:08Z").await;
    let child = |digest: &Digest, architecture: &str, variant: Option<&str>| {
        json!({
            "mediaType": MANIFEST, "digest": digest, "size": 1,
            "platform": {"os": "linux", "architecture": architecture, "variant": variant},
        })
    };
    let attestation = json!({
        "mediaType": MANIFEST, "digest": digest_of("attestation"), "size": 1,
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    });
    let index = holds
        .index(json!([
            child(&amd, "amd64", None),
            child(&arm, "arm", Some("v7")),
            attestation
        ]))
        .await;
    let facts = holds.facts(&index).await.unwrap();
    assert_eq!(
        shown(&facts),
        (
            vec!["linux/amd64".to_owned(), "linux/arm/v7".to_owned()],
            Some("2026-03-04T05:06:07.500+00:00".to_owned()),
            false
        )
    );
}

fn digest_of(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

#[tokio::test]
async fn an_index_that_tells_no_platforms_is_looked_into() {
    let holds = Holds::nothing().await;
    let amd = holds.image("amd64", "1970-01-01T00:00:00Z").await;
    let arm = holds.image("arm64", "2026-01-01T00:00:00Z").await;
    let inner = holds.index(json!([{"digest": arm}])).await;
    let index = holds
        .index(json!([{"digest": amd}, {"digest": inner}]))
        .await;
    let (platforms, created, artifact) = shown(&holds.facts(&index).await.unwrap());
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!(created.as_deref(), Some("2026-01-01T00:00:00+00:00"));
    assert!(!artifact);
}

#[tokio::test]
async fn a_manifest_tells_what_its_configuration_does() {
    let holds = Holds::nothing().await;
    for (created, expected) in [
        ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05+00:00")),
        ("0001-01-01T00:00:00Z", None),
        ("1980-01-01T00:00:01Z", None),
        ("yesterday", None),
    ] {
        let image = holds.image("arm64", created).await;
        let facts = holds.facts(&image).await.unwrap();
        let (platforms, at, artifact) = shown(&facts);
        assert_eq!(platforms, ["linux/arm64"]);
        assert_eq!((at.as_deref(), artifact), (expected, false), "{created}");
    }
}

#[tokio::test]
async fn what_is_no_image_is_told_apart() {
    let holds = Holds::nothing().await;
    let config = holds
        .put("blobs", CONFIG, &json!({"os": "", "architecture": ""}))
        .await;
    for (what, config_type, layer) in [
        (
            "a signature",
            CONFIG,
            "application/vnd.dev.cosign.simplesigning.v1+json",
        ),
        (
            "an attestation",
            CONFIG,
            "application/vnd.dsse.envelope.v1+json",
        ),
        ("a bill of materials", CONFIG, "text/spdx+json"),
        ("a chart", "application/vnd.cncf.helm.config.v1+json", LAYER),
    ] {
        let digest = holds.manifest(config_type, &config, layer).await;
        let facts = holds.facts(&digest).await.unwrap();
        assert_eq!(shown(&facts), (vec![], None, true), "{what}");
    }
    let artifact = json!({
        "schemaVersion": 2, "artifactType": "application/vnd.example",
        "config": {"mediaType": CONFIG, "digest": config, "size": 1}, "layers": [],
    });
    let artifact = holds.put("manifests", MANIFEST, &artifact).await;
    assert!(holds.facts(&artifact).await.unwrap().artifact);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error() {
    let holds = Holds::nothing().await;
    let missing = holds
        .manifest(CONFIG, &digest_of("none").parse().unwrap(), LAYER)
        .await;
    let error = holds.facts(&missing).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let old = json!({"schemaVersion": 1, "fsLayers": []});
    let old = holds.put("manifests", "application/json", &old).await;
    let error = holds.facts(&old).await.unwrap_err();
    assert!(matches!(error, Error::Other { .. }), "{error:?}");
    let index = holds.index(json!([{"digest": digest_of("none")}])).await;
    let error = holds.facts(&index).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    // An index of itself cannot be made; one that never ends can.
    let mut digest = holds.image("amd64", "").await;
    for _ in 0..40 {
        digest = holds.index(json!([{"digest": digest}])).await;
    }
    let error = holds.facts(&digest).await.unwrap_err();
    assert!(error.to_string().contains("too much"), "{error}");
}

#[tokio::test]
async fn a_registry_that_sends_something_else_is_found_out() {
    let holds = Holds::nothing().await;
    let digest = digest_of("what was asked for");
    Mock::given(path(format!("/v2/demo/app/manifests/{digest}")))
        .respond_with(ResponseTemplate::new(200).set_body_raw("{}", MANIFEST))
        .mount(&holds.server)
        .await;
    let error = holds.facts(&digest.parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
}

#[tokio::test]
async fn referrers_are_listed_by_either_way() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let holds = Holds::nothing().await;
    let host = holds.server.address().to_string();
    let repository = Repository::new(&host, "demo/app").unwrap();
    let registry = Registry::new(Options {
        http_hosts: [host].into(),
        ..Options::default()
    })
    .unwrap();
    let by_question: Digest = digest_of("new").parse().unwrap();
    let by_tag: Digest = digest_of("old").parse().unwrap();
    let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": MANIFEST, "digest": digest_of("sig"), "size": 7,
        "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json",
    }]});
    for place in [
        format!("/v2/demo/app/referrers/{by_question}"),
        format!(
            "/v2/demo/app/manifests/{}",
            by_tag.as_str().replace(':', "-")
        ),
    ] {
        Mock::given(path(place))
            .respond_with(ResponseTemplate::new(200).set_body_raw(list.to_string(), INDEX))
            .mount(&holds.server)
            .await;
    }
    for digest in [&by_question, &by_tag] {
        let found = registry.referrers(&repository, digest).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].digest.as_str(), digest_of("sig"));
    }
    let none: Digest = digest_of("none").parse().unwrap();
    assert_eq!(registry.referrers(&repository, &none).await.unwrap(), []);
}

#[tokio::test]
async fn a_real_registry_tells_what_an_image_runs_on() {
    let registry = windlass_testkit::Registry::start(&[]).await;
    let pushed = registry.push("demo/app", "v1", "content").await;
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = Registry::new(Options {
        http_hosts: [registry.host.clone()].into(),
        ..Options::default()
    })
    .unwrap();
    let repository = Repository::new(&registry.host, "demo/app").unwrap();
    let found = client.resolve(&repository, "v1").await.unwrap();
    assert_eq!(found.digest.as_str(), pushed);
    assert_eq!(found.media_type.as_deref(), Some(MANIFEST));
    let facts = client.facts(&repository, &found.digest).await.unwrap();
    assert_eq!(shown(&facts), (vec!["linux/amd64".to_owned()], None, false));
    assert_eq!(
        client.referrers(&repository, &found.digest).await.unwrap(),
        []
    );
    let by_tag = client.manifest(&repository, "v1").await.unwrap();
    let by_digest = client.manifest(&repository, &pushed).await.unwrap();
    assert_eq!(by_tag, by_digest);
}
