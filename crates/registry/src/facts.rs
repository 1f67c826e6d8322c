//! What a digest holds: platforms, build date, and whether it is an image at all.

use crate::client::Registry;
use crate::content::Manifest;
use crate::error::Error;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::{ImageFacts, Platform};

/// Bytes of an image's configuration at most; its history makes those of the largest some hundred
/// thousand.
const MAX_CONFIG_BYTES: usize = 4 * 1024 * 1024;
/// Manifests and configurations read for one digest at most. Indices tell their platforms themselves,
/// so that one image of them is enough.
const MOST_READ: usize = 32;
/// Before this there were no container images: reproducible builds write 1970 or 1980.
const FIRST_IMAGES: i64 = 1_356_998_400; // 2013-01-01

/// The configurations of images.
const CONFIGS: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];
/// What the layers of images begin with; those of signatures and attestations begin otherwise.
const LAYERS: [&str; 3] = [
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/octet-stream",
];
const CREATED: &str = "org.opencontainers.image.created";

/// An index or a manifest; both forms, so that what is read does not hang on media types that
/// registries get wrong.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Read {
    manifests: Option<Vec<Child>>,
    artifact_type: Option<String>,
    config: Option<Part>,
    layers: Vec<Part>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    #[serde(default)]
    media_type: String,
    digest: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Child {
    digest: Digest,
    #[serde(default)]
    platform: Option<TellsPlatform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    artifact_type: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TellsPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
    created: Option<String>,
}

impl TellsPlatform {
    fn platform(&self) -> Option<Platform> {
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
    fn is_beside(&self) -> bool {
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
}

impl Registry {
    /// What a digest holds: of an index the platforms that it names and the build date of its first
    /// image, of a manifest those of its configuration.
    ///
    /// # Errors
    /// [`Error`] says why it cannot be told.
    pub async fn facts(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<ImageFacts, Error> {
        let mut platforms = BTreeSet::new();
        let (mut created, mut images, mut read) = (None, 0, 0);
        let mut wanted = vec![digest.clone()];
        let mut seen = BTreeSet::new();
        while let Some(digest) = wanted.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            let image = format!("{repository}@{digest}");
            if read == MOST_READ {
                return Err(Error::other(&image, "its index holds too much"));
            }
            read += 1;
            let manifest = self.manifest(repository, digest.as_str()).await?;
            let told = parse(&image, &manifest)?;
            let noted = told
                .annotations
                .as_ref()
                .and_then(|notes| date(notes.get(CREATED)?));
            if let Some(children) = &told.manifests {
                created = created.or(noted);
                let mut children: Vec<&Child> =
                    children.iter().filter(|child| !child.is_beside()).collect();
                images += children.len();
                // One image is enough for the date where all tell their platforms.
                let all_tell = children.iter().all(|child| child.platform().is_some());
                platforms.extend(children.iter().filter_map(|child| child.platform()));
                if all_tell {
                    children.truncate(usize::from(created.is_none()));
                } else {
                    children.retain(|child| child.platform().is_none());
                }
                wanted.extend(children.into_iter().rev().map(|child| child.digest.clone()));
                continue;
            }
            let Some(config) = told.config.as_ref().filter(|_| is_image(&told)) else {
                continue;
            };
            images += 1;
            let bytes = self
                .blob(repository, &config.digest, MAX_CONFIG_BYTES)
                .await?;
            let config: TellsPlatform = serde_json::from_slice(&bytes).map_err(|error| {
                Error::other(&image, format_args!("its configuration: {error}"))
            })?;
            created = created.or_else(|| date(config.created.as_ref()?)).or(noted);
            platforms.extend(config.platform());
        }
        Ok(ImageFacts {
            platforms: platforms.into_iter().collect(),
            created,
            artifact: images == 0,
        })
    }
}

impl Child {
    fn platform(&self) -> Option<Platform> {
        self.platform.as_ref().and_then(TellsPlatform::platform)
    }
}

fn parse(image: &str, manifest: &Manifest) -> Result<Read, Error> {
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

fn is_image(told: &Read) -> bool {
    let config = told
        .config
        .as_ref()
        .is_some_and(|config| CONFIGS.contains(&config.media_type.as_str()));
    let layers = told.layers.is_empty()
        || told.layers.iter().any(|layer| {
            LAYERS
                .iter()
                .any(|known| layer.media_type.starts_with(known))
        });
    told.artifact_type.is_none() && config && layers
}

/// A date that can be one of an image.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (at.timestamp() >= FIRST_IMAGES).then_some(at)
}
