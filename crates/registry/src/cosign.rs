//! What signatures a registry holds beside a digest, as cosign stores them: under the tag
//! `sha256-….sig`, and as artifacts that refer to the digest. Nothing is verified here, only read.
//!
//! Sources: cosign's `specs/SIGNATURE_SPEC.md` and `specs/BUNDLE_SPEC.md`. Not read: attestations
//! (`….att`), bundles with a message signature instead of a DSSE envelope, and what is stored in another
//! repository (`COSIGN_REPOSITORY`).

use crate::client::Registry;
use crate::content::Manifest;
use crate::error::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use windlass_types::image::{Digest, Repository};
use windlass_types::signature::{FoundSignature, SignatureFormat, Signatures};

/// The payloads of simple signing.
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Artifacts that hold them, where they refer to the image instead of standing under its tag.
const SIMPLE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What Sigstore bundles begin with, whatever their version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The kind of statement that a bundle may say it holds without being read: an image's signature.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
/// The type of a configuration without content. cosign's third version writes it, instead of the
/// artifact's own, into the list that it keeps under a tag where a registry has no list of referrers.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Signatures of one digest at most; beyond them nothing is read. Each is a request or two.
const MOST: usize = 32;
/// Bytes of one payload at most: cosign's have some hundred, with annotations some thousand.
const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Bytes of one bundle at most: with certificates and the proofs of a log they have some ten thousand.
const MAX_BUNDLE_BYTES: usize = 256 * 1024;

/// What a manifest says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    artifact_type: Option<String>,
    config: Option<Config>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layers {
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(default)]
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    #[serde(default)]
    signatures: Vec<Signed>,
}

#[derive(Deserialize)]
struct Signed {
    sig: String,
}

impl Registry {
    /// What is found beside a digest. What looks like a signature and cannot be read is told; it is no
    /// error, because anybody who may push could put it there.
    ///
    /// # Errors
    /// [`Error`] says why the registry does not tell. One that holds no signatures is no error.
    pub async fn signatures(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Signatures, Error> {
        let mut found = Signatures::default();
        let tag = format!("{}.sig", digest.as_str().replace(':', "-"));
        match self.manifest(repository, &tag).await {
            Ok(manifest) => self.simple(repository, &manifest, &mut found).await?,
            Err(Error::NotFound { .. }) => {}
            Err(error) => left_out(&mut found, error)?,
        }
        let mut looked_into = 0;
        for referrer in self.referrers(repository, digest).await? {
            let listed = kind(referrer.artifact_type.as_deref(), &referrer.annotations);
            if listed == Kind::Other {
                continue;
            }
            if full(&mut found) {
                break;
            }
            if listed == Kind::Unsaid {
                looked_into += 1;
                if looked_into > MOST {
                    more(&mut found);
                    continue;
                }
            }
            let manifest = match self.manifest(repository, referrer.digest.as_str()).await {
                Ok(manifest) => manifest,
                Err(error) => {
                    left_out(&mut found, error)?;
                    continue;
                }
            };
            let kind = match listed {
                Kind::Unsaid => own_kind(&manifest),
                said => said,
            };
            match kind {
                Kind::Simple => self.simple(repository, &manifest, &mut found).await?,
                Kind::Bundle => self.bundles(repository, &manifest, &mut found).await?,
                Kind::Other | Kind::Unsaid => {}
            }
        }
        Ok(found)
    }

    /// Reads the layers of a manifest of simple signatures.
    async fn simple(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        found: &mut Signatures,
    ) -> Result<(), Error> {
        for layer in layers(manifest, found) {
            if layer.media_type != SIMPLE {
                continue;
            }
            if full(found) {
                break;
            }
            let noted = layer.annotations.as_ref();
            let Some(signature) = noted.and_then(|notes| notes.get(SIGNATURE)) else {
                found
                    .unreadable
                    .push(format!("a layer without the annotation {SIGNATURE}"));
                continue;
            };
            match self
                .blob(repository, &layer.digest, MAX_PAYLOAD_BYTES)
                .await
            {
                Ok(payload) => found.found.push(FoundSignature {
                    format: SignatureFormat::SimpleSigning,
                    payload: STANDARD.encode(payload),
                    signature: signature.clone(),
                }),
                Err(error) => left_out(found, error)?,
            }
        }
        Ok(())
    }

    /// Reads the layers of a manifest of bundles; there is one, as a rule.
    async fn bundles(
        &self,
        repository: &Repository,
        manifest: &Manifest,
        found: &mut Signatures,
    ) -> Result<(), Error> {
        for layer in layers(manifest, found) {
            if !layer.media_type.starts_with(BUNDLE) {
                continue;
            }
            if full(found) {
                break;
            }
            match self.blob(repository, &layer.digest, MAX_BUNDLE_BYTES).await {
                Ok(bytes) => bundle(&bytes, found),
                Err(error) => left_out(found, error)?,
            }
        }
        Ok(())
    }
}

/// What refers to an image, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Simple,
    Bundle,
    /// The list does not say it; its manifest does.
    Unsaid,
    Other,
}

/// What something that refers to an image says of itself: its type and its annotations.
fn kind(artifact: Option<&str>, annotations: &BTreeMap<String, String>) -> Kind {
    match artifact {
        None | Some("" | EMPTY) => Kind::Unsaid,
        Some(SIMPLE_ARTIFACT) => Kind::Simple,
        // One that says it holds another statement is not worth a request.
        Some(bundle) if bundle.starts_with(BUNDLE) => match annotations.get(PREDICATE) {
            Some(predicate) if predicate != SIGNS => Kind::Other,
            _ => Kind::Bundle,
        },
        Some(_) => Kind::Other,
    }
}

/// The same by its own manifest.
fn own_kind(manifest: &Manifest) -> Kind {
    let Ok(own) = serde_json::from_slice::<Own>(&manifest.bytes) else {
        return Kind::Other;
    };
    let config = own.config.and_then(|config| config.media_type);
    kind(
        own.artifact_type.as_deref().or(config.as_deref()),
        &own.annotations.unwrap_or_default(),
    )
}

/// Whether no more is read; says so once.
fn full(found: &mut Signatures) -> bool {
    let full = found.found.len() + found.unreadable.len() >= MOST;
    if full {
        more(found);
    }
    full
}

/// Says once that there is more than what is read.
fn more(found: &mut Signatures) {
    let said = format!("there are more than the {MOST} that are read");
    if found.unreadable.last() != Some(&said) {
        found.unreadable.push(said);
    }
}

fn layers(manifest: &Manifest, found: &mut Signatures) -> Vec<Layer> {
    match serde_json::from_slice::<Layers>(&manifest.bytes) {
        Ok(read) => read.layers,
        Err(error) => {
            let digest = manifest.digest.short();
            found
                .unreadable
                .push(format!("the manifest {digest} is none: {error}"));
            Vec::new()
        }
    }
}

fn bundle(bytes: &[u8], found: &mut Signatures) {
    let mut bad = |why: String| found.unreadable.push(format!("a bundle: {why}"));
    let envelope = match serde_json::from_slice::<Bundle>(bytes) {
        Ok(Bundle {
            dsse_envelope: Some(envelope),
        }) => envelope,
        Ok(_) => return bad("it has no DSSE envelope, which is all that is read".to_owned()),
        Err(error) => return bad(error.to_string()),
    };
    if envelope.payload_type != IN_TOTO {
        return bad(format!("its payload is no {IN_TOTO}"));
    }
    if envelope.signatures.is_empty() {
        return bad("nobody has signed it".to_owned());
    }
    for signed in envelope.signatures.into_iter().take(MOST) {
        found.found.push(FoundSignature {
            format: SignatureFormat::Bundle,
            payload: envelope.payload.clone(),
            signature: signed.sig,
        });
    }
}

/// Notes what could not be read for what it is; what could not be read for want of an answer ends it all.
fn left_out(found: &mut Signatures, error: Error) -> Result<(), Error> {
    match error {
        Error::NotFound { .. } | Error::Mismatch { .. } | Error::Other { .. } => {
            found.unreadable.push(error.to_string());
            Ok(())
        }
        error => Err(error),
    }
}
