//! Signatures read from a real CNCF Distribution and from a stand-in that answers in every wrong way, made
//! in cosign's documented formats with a real key, and verified as the planner does.
#![expect(clippy::unwrap_used, reason = "tests are to fail loudly")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use windlass_core::signatures::{Unsigned, verify};
use windlass_registry::{Error, Options, Registry};
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::SignatureRule;
use windlass_types::signature::Signatures;
use wiremock::matchers::{path, path_regex};
use wiremock::{Mock, MockServer, ResponseTemplate};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A key of the test's own.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap())
    }

    fn rule(&self) -> SignatureRule {
        // RFC 5480: what every P-256 key in DER begins with.
        let head = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
        let mut der = hex::decode(head).unwrap();
        der.extend_from_slice(self.0.public_key().as_ref());
        let body = STANDARD.encode(der);
        SignatureRule {
            require: true,
            keys: vec![format!(
                "-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----"
            )],
            signed_as: None,
        }
    }

    fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), message).unwrap())
    }

    fn bundle(&self, kind: &str, digest: &Digest) -> Value {
        let hex = digest.as_str().trim_start_matches("sha256:");
        let statement = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": kind,
            "subject": [{"digest": {"sha256": hex}}], "predicate": {}})
        .to_string();
        let message = format!(
            "DSSEv1 {} {IN_TOTO} {} {statement}",
            IN_TOTO.len(),
            statement.len()
        );
        json!({"mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": ""}},
            "dsseEnvelope": {"payload": STANDARD.encode(statement), "payloadType": IN_TOTO,
                "signatures": [{"sig": self.sign(message.as_bytes())}]}})
    }
}

fn payload(repository: &Repository, digest: &Digest) -> String {
    json!({"critical": {"identity": {"docker-reference": repository}, "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature"}, "optional": null})
    .to_string()
}

fn layer(media_type: &str, digest: &str, signature: Option<&str>) -> Value {
    let mut layer = json!({"mediaType": media_type, "digest": digest, "size": 1});
    if let Some(signature) = signature {
        layer["annotations"] = json!({SIGNATURE: signature});
    }
    layer
}

fn manifest(layers: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": format!("sha256:{}", hex::encode(Sha256::digest("{}"))), "size": 2}})
}

fn client(host: &str) -> Registry {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    Registry::new(Options {
        http_hosts: [host.to_owned()].into(),
        timeout: Some(Duration::from_secs(5)),
        ..Options::default()
    })
    .unwrap()
}

fn tag_of(digest: &Digest, end: &str) -> String {
    format!("{}{end}", digest.as_str().replace(':', "-"))
}

#[tokio::test]
async fn both_formats_are_found_in_a_real_registry_and_count() {
    let real = windlass_testkit::Registry::start(&[]).await;
    let registry = client(&real.host);
    let repository = Repository::new(&real.host, "demo/app").unwrap();
    let signer = Signer::new();
    let rule = signer.rule();
    let image: Digest = real.push("demo/app", "v1", "one").await.parse().unwrap();
    let none = registry.signatures(&repository, &image).await.unwrap();
    assert_eq!(none, Signatures::default());
    real.push_blob("demo/app", b"{}".to_vec()).await;

    // As cosign did it until its third version: under a tag made from the digest.
    let text = payload(&repository, &image);
    let blob = real.push_blob("demo/app", text.clone().into_bytes()).await;
    let signed = manifest(&[layer(SIMPLE, &blob, Some(&signer.sign(text.as_bytes())))]);
    let body = signed.to_string().into_bytes();
    real.push_manifest("demo/app", &tag_of(&image, ".sig"), MANIFEST, body)
        .await;
    let found = registry.signatures(&repository, &image).await.unwrap();
    assert!(
        verify(&rule, &repository, &image, &found).is_ok(),
        "{found:?}"
    );
    // Signed with another key, beside another digest, in another repository it is none.
    assert!(verify(&Signer::new().rule(), &repository, &image, &found).is_err());
    let other: Digest = real.push("demo/app", "v2", "two").await.parse().unwrap();
    assert!(verify(&rule, &repository, &other, &found).is_err());
    let elsewhere = Repository::new(&real.host, "demo/web").unwrap();
    assert!(verify(&rule, &elsewhere, &image, &found).is_err());

    // As it does since: bundles that refer to the image; this registry lists them under a tag.
    let mut children = Vec::new();
    for kind in [
        "https://cyclonedx.org/bom",
        "https://sigstore.dev/cosign/sign/v1",
    ] {
        let bundle = signer.bundle(kind, &other).to_string().into_bytes();
        let blob = real.push_blob("demo/app", bundle).await;
        let mut bundle = manifest(&[layer(BUNDLE, &blob, None)]);
        bundle["artifactType"] = json!(BUNDLE);
        let body = bundle.to_string().into_bytes();
        let size = body.len();
        let name = format!("bundle-{}", children.len());
        let digest = real.push_manifest("demo/app", &name, MANIFEST, body).await;
        children.push(
            json!({"mediaType": MANIFEST, "digest": digest, "size": size, "artifactType": BUNDLE}),
        );
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
        let body = index.to_string().into_bytes();
        real.push_manifest("demo/app", &tag_of(&other, ""), INDEX, body)
            .await;
        let found = registry.signatures(&repository, &other).await.unwrap();
        let verified = verify(&rule, &repository, &other, &found);
        // A bill of materials signed with the key is no signature of the image.
        assert_eq!(verified.is_ok(), kind.ends_with("sign/v1"), "{verified:?}");
    }
}

/// A registry that holds what it is given, and else nothing.
struct Holds {
    server: MockServer,
    repository: Repository,
    image: Digest,
    signer: Signer,
}

impl Holds {
    async fn nothing() -> Self {
        let server = MockServer::start().await;
        let repository = Repository::new(&server.address().to_string(), "demo/app").unwrap();
        let image = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        Self {
            server,
            repository,
            image,
            signer: Signer::new(),
        }
    }

    async fn blob(&self, bytes: &[u8]) -> String {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
        self.answers(&format!("blobs/{digest}"), 200, bytes.to_vec())
            .await;
        digest
    }

    async fn answers(&self, place: &str, status: u16, body: Vec<u8>) {
        Mock::given(path(format!("/v2/demo/app/{place}")))
            .respond_with(ResponseTemplate::new(status).set_body_raw(body, MANIFEST))
            .mount(&self.server)
            .await;
    }

    async fn beside(&self, layers: &[Value]) {
        let place = format!("manifests/{}", tag_of(&self.image, ".sig"));
        self.answers(&place, 200, manifest(layers).to_string().into_bytes())
            .await;
    }

    async fn good(&self) -> Value {
        let text = payload(&self.repository, &self.image);
        let blob = self.blob(text.as_bytes()).await;
        layer(SIMPLE, &blob, Some(&self.signer.sign(text.as_bytes())))
    }

    async fn ask(&self) -> Result<Signatures, Error> {
        let registry = client(&self.server.address().to_string());
        registry.signatures(&self.repository, &self.image).await
    }

    async fn verdict(&self) -> Result<String, Unsigned> {
        let found = self.ask().await.unwrap();
        verify(&self.signer.rule(), &self.repository, &self.image, &found)
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_and_does_not_hide_what_can() {
    let holds = Holds::nothing().await;
    let good = holds.good().await;
    let huge = holds.blob(&vec![b' '; 64 * 1024 + 1]).await;
    let missing = format!("sha256:{}", "cd".repeat(32));
    let lying = format!("sha256:{}", "ef".repeat(32));
    holds
        .answers(&format!("blobs/{lying}"), 200, b"something else".to_vec())
        .await;
    let layers = [
        layer(SIMPLE, &huge, Some("AA==")),
        layer(SIMPLE, &missing, Some("AA==")),
        layer(SIMPLE, &lying, Some("AA==")),
        layer(SIMPLE, good["digest"].as_str().unwrap(), None),
        layer(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            &missing,
            None,
        ),
    ];
    holds.beside(&layers).await;
    let found = holds.ask().await.unwrap();
    assert_eq!(
        (found.found.len(), found.unreadable.len()),
        (0, 4),
        "{found:?}"
    );
    for said in [
        "larger than 65536 bytes",
        "is not in the registry",
        "has the digest",
        "without the annotation",
    ] {
        assert!(
            found.unreadable.iter().any(|why| why.contains(said)),
            "{said}: {found:?}"
        );
    }
    assert!(matches!(
        holds.verdict().await,
        Err(Unsigned::Unreadable { .. })
    ));

    let holds = Holds::nothing().await;
    let (good, huge) = (holds.good().await, holds.blob(&vec![b' '; 70_000]).await);
    holds
        .beside(&[layer(SIMPLE, &huge, Some("AA==")), good])
        .await;
    assert!(holds.verdict().await.is_ok());
}

#[tokio::test]
async fn beyond_so_many_signatures_nothing_is_read() {
    let holds = Holds::nothing().await;
    let good = holds.good().await;
    let mut layers = vec![layer(SIMPLE, good["digest"].as_str().unwrap(), Some("AA==")); 40];
    layers.push(good);
    holds.beside(&layers).await;
    let found = holds.ask().await.unwrap();
    assert_eq!(found.found.len(), 32);
    assert!(
        found.unreadable[0].contains("more than the 32"),
        "{found:?}"
    );
    assert!(matches!(
        holds.verdict().await,
        Err(Unsigned::OtherKey { .. })
    ));
}

#[tokio::test]
async fn bundles_that_are_none_are_told() {
    let holds = Holds::nothing().await;
    let message_signature = json!({"mediaType": BUNDLE, "messageSignature": {"signature": "AA=="}});
    let other_payload = json!({"dsseEnvelope": {"payload": "AA==", "payloadType": "text/plain", "signatures": [{"sig": "AA=="}]}});
    let nobody =
        json!({"dsseEnvelope": {"payload": "AA==", "payloadType": IN_TOTO, "signatures": []}});
    let mut listed = Vec::new();
    for bundle in [message_signature, other_payload, nobody, json!("no bundle")] {
        let blob = holds.blob(bundle.to_string().as_bytes()).await;
        let body = manifest(&[layer(BUNDLE, &blob, None)])
            .to_string()
            .into_bytes();
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&body)));
        holds
            .answers(&format!("manifests/{digest}"), 200, body)
            .await;
        listed.push(
            json!({"mediaType": MANIFEST, "digest": digest, "size": 1, "artifactType": BUNDLE}),
        );
    }
    // Nor is what says of itself that it is something else worth a request.
    let gone = format!("sha256:{}", "01".repeat(32));
    listed.push(json!({"digest": gone, "artifactType": BUNDLE,
        "annotations": {"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}}));
    listed.push(json!({"digest": gone, "artifactType": "application/vnd.cyclonedx+json"}));
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed});
    holds
        .answers(
            &format!("referrers/{}", holds.image),
            200,
            index.to_string().into_bytes(),
        )
        .await;
    let found = holds.ask().await.unwrap();
    assert_eq!(
        (found.found.len(), found.unreadable.len()),
        (0, 4),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_registry_that_does_not_tell_is_no_registry_without_signatures() {
    for status in [401, 403, 429, 500, 503] {
        let holds = Holds::nothing().await;
        Mock::given(path_regex("^/v2/demo/app/"))
            .respond_with(ResponseTemplate::new(status))
            .mount(&holds.server)
            .await;
        assert!(holds.ask().await.is_err(), "{status}");
    }
    // Nor where the list alone cannot be had: what is signed could be there.
    let holds = Holds::nothing().await;
    holds
        .answers(&format!("referrers/{}", holds.image), 503, Vec::new())
        .await;
    assert!(holds.ask().await.is_err());
    let away = Repository::new("127.0.0.1:1", "demo/app").unwrap();
    let refused = client("127.0.0.1:1").signatures(&away, &holds.image).await;
    assert!(
        matches!(refused, Err(Error::Unreachable { .. })),
        "{refused:?}"
    );
    let silent = Holds::nothing().await;
    assert_eq!(silent.ask().await.unwrap(), Signatures::default());
}
