//! From a push to devices, or not: signatures put beside an image, holds, and older versions.

use crate::server::{PATIENCE, Server, image};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::TcpListener;
use windlass_simulator::{Notify, Registry};
use windlass_testkit::eventually;

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let key = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(kind, key.as_ref(), &random).unwrap())
    }

    fn pem(&self) -> String {
        // RFC 5480: what every P-256 key in DER begins with.
        let mut der = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
        der.extend_from_slice(self.0.public_key().as_ref());
        let body = STANDARD.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// Puts a signature beside an image, as cosign does.
    async fn sign(&self, registry: &Registry, repository: &str, digest: &str) {
        let host = registry.host();
        let payload = json!({"critical": {"identity": {"docker-reference": format!("{host}/{repository}")},
            "image": {"docker-manifest-digest": digest}, "type": "cosign container image signature"}, "optional": null})
        .to_string();
        let signature = self
            .0
            .sign(&SystemRandom::new(), payload.as_bytes())
            .unwrap();
        let (config, layer) = (sha256("{}"), sha256(&payload));
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
            "layers": [{"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": layer,
                "size": payload.len(), "annotations": {"dev.cosignproject.cosign/signature": STANDARD.encode(signature)}}]});
        let client = windlass_testkit::http();
        let base = format!("http://{host}/v2/{repository}");
        for (name, blob) in [(config, "{}".to_owned()), (layer, payload)] {
            let put = client
                .put(format!("{base}/blobs/uploads/1?digest={name}"))
                .body(blob);
            assert!(put.send().await.unwrap().status().is_success());
        }
        let tag = format!("{}.sig", digest.replace(':', "-"));
        let put = client
            .put(format!("{base}/manifests/{tag}"))
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .body(manifest.to_string());
        assert!(put.send().await.unwrap().status().is_success());
    }
}

fn sha256(text: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(text)))
}

async fn why(server: &Server, what: &str) -> Vec<String> {
    let why = server.json(&["why", what]).await;
    let reasons = why["reasons"].as_array().unwrap();
    reasons
        .iter()
        .map(|one| one["code"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until this is among the reasons.
async fn until(server: &Server, what: &str, code: &str) {
    eventually(&format!("{what}: {code}"), PATIENCE, async || {
        why(server, what).await.iter().any(|found| found == code)
    })
    .await;
}

#[tokio::test]
async fn only_what_is_signed_newest_and_not_held_reaches_devices() {
    let registry = Registry::start(TcpListener::bind("127.0.0.1:0").unwrap(), None).unwrap();
    let host = registry.host();
    let server = Server::configured(&format!("[registry]\nhttp_hosts = [\"{host}\"]\n"));
    registry.notify(Notify {
        url: format!("{}/api/v1/webhooks/docker-registry", server.url),
        authorization: Some("Bearer a secret of the tests".to_owned()),
    });
    let first = registry.push("demo/web", "1.0.0", "one").await.unwrap();
    let devices = server.devices(2, &image(&registry, "1.0.0", &first)).await;
    let signer = Signer::new();
    let policy = json!({"name": "signed", "image": format!("{host}/demo/web"), "strategy": "auto",
        "tag": {"type": "semver", "range": ">=1"}, "signature": {"keys": [signer.pem()]},
        "health": {"stable_window_seconds": 1, "deadline_seconds": 30}});
    let file = server.file("policy.json", &policy.to_string());
    server
        .json(&["policies", "apply", "-f", file.to_str().unwrap()])
        .await;

    let second = registry.push("demo/web", "1.2.0", "two").await.unwrap();
    let name = format!("{host}/demo/web:1.2.0");
    until(&server, &name, "unsigned").await;
    Signer::new()
        .sign(&registry, "demo/web", second.as_str())
        .await;
    until(&server, &name, "wrong_signature").await;
    signer.sign(&registry, "demo/web", second.as_str()).await;
    let shipped = image(&registry, "1.2.0", &second);
    eventually("the signed image runs", PATIENCE, async || {
        devices.count_running("web", &shipped) == 2
    })
    .await;
    let seen: Value = server
        .json(&["events", "--type", "image.rollout_created"])
        .await;
    let first_line = seen.as_array().map_or(&seen, |all| &all[0]);
    assert_eq!(
        first_line["data"]["signed_by"].as_str().map(str::len),
        Some(64),
        "{seen}"
    );

    // An older one, be it signed, ships to nobody; nor does what is held, until that is lifted.
    let older = registry.push("demo/web", "1.1.0", "three").await.unwrap();
    signer.sign(&registry, "demo/web", older.as_str()).await;
    until(&server, &format!("{host}/demo/web:1.1.0"), "below_newest").await;
    let held = server
        .json(&["hold", "signed", "--reason", "inventory"])
        .await;
    let newer = registry.push("demo/web", "1.3.0", "four").await.unwrap();
    signer.sign(&registry, "demo/web", newer.as_str()).await;
    let name = format!("{host}/demo/web:1.3.0");
    until(&server, &name, "held").await;
    let said = server.windlass(&["why", &name]).await;
    assert!(
        said.stdout.contains("inventory") && said.stdout.contains("Lift the hold."),
        "{said:?}"
    );
    let listed = server.windlass(&["holds", "--state", "in_force"]).await;
    assert!(
        listed.stdout.contains("signed") && listed.stdout.contains("inventory"),
        "{listed:?}"
    );
    server
        .json(&[
            "unhold",
            held["id"].as_str().unwrap(),
            "--reason",
            "counted",
        ])
        .await;
    let shipped = image(&registry, "1.3.0", &newer);
    eventually("what was held runs", PATIENCE, async || {
        devices.count_running("web", &shipped) == 2
    })
    .await;
    // The signatures were pushed too, and told of: they are no images.
    let versions = server
        .client()
        .image_versions(&windlass_client::PageQuery::default())
        .await;
    assert!(
        versions
            .unwrap()
            .items
            .iter()
            .all(|one| !one.tag.starts_with("sha256-"))
    );
}
