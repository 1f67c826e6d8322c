//! Signatures that the real cosign made, of its second and its third version (`scripts/cosign-samples`), put into
//! a real registry as cosign put them there, read from it and verified; and what becomes of them when somebody
//! meddles with them.
#![expect(clippy::unwrap_used, reason = "tests are to fail loudly")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use windlass_core::signatures::{Unsigned, verify};
use windlass_registry::{Options, Registry};
use windlass_types::image::{Digest, Repository};
use windlass_types::policy::SignatureRule;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const MADE: [&str; 2] = [
    include_str!("samples/cosign-2.5.0.json"),
    include_str!("samples/cosign-3.1.1.json"),
];

/// What a run of the script wrote down.
#[derive(Deserialize)]
struct Samples {
    cosign: String,
    /// The registry that it was pushed to, which simple signatures name.
    host: String,
    keys: BTreeMap<String, String>,
    repositories: BTreeMap<String, Held>,
}

/// What a repository held in the end.
#[derive(Deserialize)]
struct Held {
    tags: BTreeMap<String, String>,
    manifests: Vec<Manifest>,
    blobs: Vec<String>,
}

#[derive(Deserialize)]
struct Manifest {
    digest: String,
    media_type: String,
    body: String,
}

/// A real registry that holds the samples of one version.
struct Made {
    samples: Samples,
    real: windlass_testkit::Registry,
    registry: Registry,
}

impl Made {
    async fn by(text: &str) -> Self {
        let samples: Samples = serde_json::from_str(text).unwrap();
        let real = windlass_testkit::Registry::start(&[]).await;
        for (name, held) in &samples.repositories {
            for blob in &held.blobs {
                real.push_blob(name, blob.clone().into_bytes()).await;
            }
            for manifest in &held.manifests {
                let tags = held.tags.iter().filter(|(_, of)| **of == manifest.digest);
                let names = tags.map(|(tag, _)| tag).chain([&manifest.digest]);
                for tag in names {
                    let body = manifest.body.clone().into_bytes();
                    real.push_manifest(name, tag, &manifest.media_type, body)
                        .await;
                }
            }
        }
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let registry = Registry::new(Options {
            http_hosts: [real.host.clone()].into(),
            ..Options::default()
        });
        Self {
            samples,
            registry: registry.unwrap(),
            real,
        }
    }

    fn image(&self, name: &str) -> Digest {
        self.samples.repositories[name].tags["v1"].parse().unwrap()
    }

    /// Under the name that it was signed as.
    fn rule(&self, key: &str, name: &str) -> SignatureRule {
        SignatureRule {
            require: true,
            keys: vec![self.samples.keys[key].clone()],
            signed_as: Some(format!("{}/{name}", self.samples.host)),
        }
    }

    async fn verified(
        &self,
        name: &str,
        image: &Digest,
        rule: &SignatureRule,
    ) -> Result<String, Unsigned> {
        let repository = Repository::new(&self.real.host, name).unwrap();
        let found = self.registry.signatures(&repository, image).await.unwrap();
        verify(rule, &repository, image, &found)
    }

    /// What cosign pushed for the image of a repository: its manifest and the blob in that.
    fn pushed(&self, name: &str) -> (Value, String) {
        let held = &self.samples.repositories[name];
        let signs = |manifest: &&Manifest| {
            manifest.body.contains(SIGNATURE) || manifest.body.contains("sigstore.bundle.v0.3+json")
        };
        let manifest = held.manifests.iter().find(signs).unwrap();
        let blob = held
            .blobs
            .iter()
            .find(|blob| blob.contains("critical") || blob.contains("dsseEnvelope"));
        (
            serde_json::from_str(&manifest.body).unwrap(),
            blob.unwrap().clone(),
        )
    }

    /// Puts it beside another image of the repository, as cosign of this version does.
    async fn put(&self, name: &str, manifest: &Value, beside: &Digest) {
        let tag = beside.as_str().replace(':', "-");
        let body = manifest.to_string().into_bytes();
        if manifest["artifactType"].is_null() {
            let tag = format!("{tag}.sig");
            self.real.push_manifest(name, &tag, MANIFEST, body).await;
            return;
        }
        let size = body.len();
        let digest = self.real.push_manifest(name, "put", MANIFEST, body).await;
        let listed = json!({"mediaType": MANIFEST, "digest": digest, "size": size,
            "artifactType": "application/vnd.oci.empty.v1+json"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]});
        let body = index.to_string().into_bytes();
        self.real.push_manifest(name, &tag, INDEX, body).await;
    }
}

#[tokio::test]
async fn what_the_real_cosign_signed_counts_and_nothing_else_does() {
    for text in MADE {
        let made = Made::by(text).await;
        let version = made.samples.cosign.clone();
        for name in [
            "demo/usual",
            "demo/older",
            "demo/index",
            "demo/annotated",
            "demo/twice",
        ] {
            let (image, rule) = (made.image(name), made.rule("trusted", name));
            let verified = made.verified(name, &image, &rule).await;
            assert!(verified.is_ok(), "{version} {name}: {verified:?}");
        }
        // Each platform of an index that was signed with all that is in it.
        for held in &made.samples.repositories["demo/index"].manifests {
            let read: Value = serde_json::from_str(&held.body).unwrap();
            if read["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
                && !held.body.contains(SIGNATURE)
            {
                let child = held.digest.parse().unwrap();
                let rule = made.rule("trusted", "demo/index");
                let verified = made.verified("demo/index", &child, &rule).await;
                assert!(verified.is_ok(), "{version} {child}: {verified:?}");
            }
        }
        // Another key.
        let image = made.image("demo/stranger");
        let rule = made.rule("trusted", "demo/stranger");
        let refused = made.verified("demo/stranger", &image, &rule).await;
        assert!(
            matches!(refused, Err(Unsigned::OtherKey { .. })),
            "{version}: {refused:?}"
        );
        let rule = made.rule("other", "demo/stranger");
        assert!(made.verified("demo/stranger", &image, &rule).await.is_ok());
        // A signed bill of materials, and nothing at all.
        let rule = made.rule("trusted", "demo/attested");
        let image = made.image("demo/attested");
        let refused = made.verified("demo/attested", &image, &rule).await;
        assert_eq!(refused, Err(Unsigned::Nothing), "{version}");
        let bare = made.real.push("demo/usual", "bare", "not signed").await;
        let rule = made.rule("trusted", "demo/usual");
        let refused = made
            .verified("demo/usual", &bare.parse().unwrap(), &rule)
            .await;
        assert_eq!(refused, Err(Unsigned::Nothing), "{version}");
        // The name it was signed as, which bundles do not carry.
        let image = made.image("demo/named");
        let mut rule = made.rule("trusted", "demo/named");
        let refused = made.verified("demo/named", &image, &rule).await;
        if version.starts_with("2.") {
            let named = "registry.example/shop/till".to_owned();
            assert_eq!(refused, Err(Unsigned::OtherRepository { named }));
            rule.signed_as = Some("registry.example/shop/till".to_owned());
        }
        assert!(made.verified("demo/named", &image, &rule).await.is_ok());
    }
}

#[tokio::test]
async fn what_the_real_cosign_signed_counts_no_more_once_it_was_meddled_with() {
    for text in MADE {
        let made = Made::by(text).await;
        let name = "demo/usual";
        let rule = made.rule("trusted", name);
        let (manifest, blob) = made.pushed(name);
        // Beside another image.
        let other: Digest = made.real.push(name, "v2", "two").await.parse().unwrap();
        made.put(name, &manifest, &other).await;
        let refused = made.verified(name, &other, &rule).await;
        let named = made.image(name).to_string();
        assert_eq!(refused, Err(Unsigned::OtherDigest { named }));
        // With a payload that names the other image.
        let signed = |text: &str| text.replace(made.image(name).as_str(), other.as_str());
        let hex = |digest: &Digest| digest.as_str().trim_start_matches("sha256:").to_owned();
        let tampered = if blob.contains("dsseEnvelope") {
            let mut bundle: Value = serde_json::from_str(&blob).unwrap();
            let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
            let text = String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap();
            let text = text.replace(&hex(&made.image(name)), &hex(&other));
            bundle["dsseEnvelope"]["payload"] = json!(STANDARD.encode(text));
            bundle.to_string()
        } else {
            signed(&blob)
        };
        assert_ne!(tampered, blob);
        let mut changed = manifest.clone();
        changed["layers"][0]["size"] = json!(tampered.len());
        changed["layers"][0]["digest"] =
            json!(made.real.push_blob(name, tampered.into_bytes()).await);
        made.put(name, &changed, &other).await;
        let refused = made.verified(name, &other, &rule).await;
        assert!(
            matches!(refused, Err(Unsigned::OtherKey { .. })),
            "{refused:?}"
        );
        // Without what was signed: a manifest whose payload the registry has no more is told, and is none.
        let nothing = made.real.push_blob(name, b"{}".to_vec()).await;
        let mut hollow = manifest;
        hollow["layers"][0]["digest"] = json!(nothing);
        hollow["layers"][0]["size"] = json!(2);
        made.put(name, &hollow, &other).await;
        let refused = made.verified(name, &other, &rule).await;
        assert!(
            matches!(
                refused,
                Err(Unsigned::OtherKey { .. } | Unsigned::Unreadable { .. })
            ),
            "{refused:?}"
        );
        // What was there before is as good as before.
        let image = made.image(name);
        assert!(made.verified(name, &image, &rule).await.is_ok());
    }
}
