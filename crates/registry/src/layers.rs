//! How large an image is, before it is pulled.

use crate::client::Registry;
use crate::error::Error;
use serde::Deserialize;
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::Platform;

/// Bytes of an image's configuration at most; its history makes those of the largest some hundred
/// thousand.
const MAX_CONFIG_BYTES: usize = 4 * 1024 * 1024;

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its bytes as they come over the line.
    pub bytes: u64,
    /// Whether they are packed: unpacked they are more.
    pub packed: bool,
    /// The digest of the archive when it is unpacked, by which engines know what they have already.
    pub content: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Child>,
}

#[derive(Deserialize)]
struct Child {
    digest: Digest,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Part,
    layers: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    size: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RootFs {
    diff_ids: Vec<String>,
}

impl Registry {
    /// The layers of an image from the lowest on. Of an index those of the image that `choose` takes of its platforms.
    ///
    /// # Errors
    /// [`Error`] says why they cannot be told; [`Error::Other`] also where no platform is taken.
    pub async fn layers(
        &self,
        repository: &Repository,
        tag_or_digest: &str,
        choose: impl Fn(&[Platform]) -> Option<usize> + Send,
    ) -> Result<Vec<Layer>, Error> {
        let mut manifest = self.manifest(repository, tag_or_digest).await?;
        let image = format!("{repository}@{}", manifest.digest);
        if let Ok(index) = serde_json::from_slice::<Index>(&manifest.bytes) {
            let (platforms, digests): (Vec<Platform>, Vec<Digest>) = index
                .manifests
                .into_iter()
                .filter_map(|child| Some((child.platform?, child.digest)))
                .unzip();
            let digest = choose(&platforms)
                .and_then(|at| digests.get(at))
                .ok_or_else(|| Error::other(&image, "none of its platforms is meant"))?;
            manifest = self.manifest(repository, digest.as_str()).await?;
        }
        let told: Manifest = serde_json::from_slice(&manifest.bytes)
            .map_err(|error| Error::other(&image, format_args!("its manifest: {error}")))?;
        let config = self
            .blob(repository, &told.config.digest, MAX_CONFIG_BYTES)
            .await?;
        let config: Config = serde_json::from_slice(&config)
            .map_err(|error| Error::other(&image, format_args!("its configuration: {error}")))?;
        let mut contents = config.rootfs.diff_ids.into_iter();
        Ok(told
            .layers
            .into_iter()
            .map(|layer| Layer {
                bytes: layer.size,
                packed: is_packed(&layer.media_type),
                content: contents.next(),
            })
            .collect())
    }
}

/// What does not say that it is an archive as it is, is taken for packed.
fn is_packed(media_type: &str) -> bool {
    !media_type.ends_with(".tar")
}
