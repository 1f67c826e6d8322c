//! What indices, manifests and configurations say, as far as it is needed here.

use crate::content::Manifest;
use crate::error::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use windlass_types::image::Digest;
use windlass_types::oci::Platform;

/// Bytes of an image's configuration at most; its history makes those of the largest some hundred
/// thousand.
pub(crate) const MAX_CONFIG_BYTES: usize = 4 * 1024 * 1024;

/// An index or a manifest; both forms, so that what is read does not hang on media types that
/// registries get wrong.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Read {
    pub(crate) manifests: Option<Vec<Child>>,
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Option<Part>,
    pub(crate) layers: Vec<Part>,
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// A configuration or a layer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Part {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) size: Option<u64>,
}

/// One of an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Child {
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) platform: Option<TellsPlatform>,
    #[serde(default)]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(crate) artifact_type: Option<String>,
}

/// What an index says of one of its own, and a configuration of itself.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct TellsPlatform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) variant: Option<String>,
    pub(crate) created: Option<String>,
}

impl TellsPlatform {
    pub(crate) fn platform(&self) -> Option<Platform> {
        let known = |text: &str| !text.is_empty() && text != "unknown";
        (known(&self.os) && known(&self.architecture)).then(|| Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone().filter(|text| !text.is_empty()),
        })
    }
}

impl Child {
    /// Whether it is there beside images: an attestation of BuildKit, an artifact.
    pub(crate) fn is_beside(&self) -> bool {
        let attests = self.annotations.as_ref().is_some_and(|notes| {
            notes
                .get("vnd.docker.reference.type")
                .is_some_and(|kind| kind == "attestation-manifest")
        });
        let unknown = self
            .platform
            .as_ref()
            .is_some_and(|told| told.os == "unknown" && told.architecture == "unknown");
        attests || unknown || self.artifact_type.is_some()
    }

    /// What it runs on; none where the index does not say.
    pub(crate) fn platform(&self) -> Option<Platform> {
        self.platform.as_ref().and_then(TellsPlatform::platform)
    }
}

/// Reads an index or a manifest of an image, which is named for errors.
pub(crate) fn parse(image: &str, manifest: &Manifest) -> Result<Read, Error> {
    let read: Read = serde_json::from_slice(&manifest.bytes)
        .map_err(|error| Error::other(image, format_args!("its manifest: {error}")))?;
    if read.manifests.is_none() && read.config.is_none() && read.artifact_type.is_none() {
        return Err(Error::other(
            image,
            format_args!(
                "{:?} is no manifest that is known here",
                manifest.media_type
            ),
        ));
    }
    Ok(read)
}
