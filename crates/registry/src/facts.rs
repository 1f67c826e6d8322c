//! What a digest holds: platforms, build date, and whether it is an image at all.

use crate::client::Registry;
use crate::error::Error;
use crate::reading::{Child, MAX_CONFIG_BYTES, Read, TellsPlatform, parse};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::ImageFacts;

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
