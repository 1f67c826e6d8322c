//! How large an image is, before it is pulled.

use crate::client::Registry;
use crate::error::Error;
use crate::reading::{MAX_CONFIG_BYTES, Part, parse};
use serde::Deserialize;
use windlass_types::image::{Digest, Repository};
use windlass_types::oci::Platform;

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
        let manifest = self.manifest(repository, tag_or_digest).await?;
        let image = format!("{repository}@{}", manifest.digest);
        let mut told = parse(&image, &manifest)?;
        if let Some(children) = &told.manifests {
            let (platforms, digests): (Vec<Platform>, Vec<&Digest>) = children
                .iter()
                .filter(|child| !child.is_beside())
                .filter_map(|child| Some((child.platform()?, &child.digest)))
                .unzip();
            let digest = choose(&platforms)
                .and_then(|at| digests.get(at))
                .ok_or_else(|| Error::other(&image, "none of its platforms is meant"))?;
            let manifest = self.manifest(repository, digest.as_str()).await?;
            told = parse(&image, &manifest)?;
        }
        let config = told
            .config
            .ok_or_else(|| Error::other(&image, "its manifest has no configuration"))?;
        let config = self
            .blob(repository, &config.digest, MAX_CONFIG_BYTES)
            .await?;
        let config: Config = serde_json::from_slice(&config)
            .map_err(|error| Error::other(&image, format_args!("its configuration: {error}")))?;
        let mut contents = config.rootfs.diff_ids.into_iter();
        let layer = |layer: &Part| {
            Some(Layer {
                bytes: layer.size?,
                packed: is_packed(&layer.media_type),
                content: contents.next(),
            })
        };
        let layers: Option<Vec<Layer>> = told.layers.iter().map(layer).collect();
        layers.ok_or_else(|| Error::other(&image, "one of its layers does not say its size"))
    }
}

/// What does not say that it is an archive as it is, is taken for packed.
fn is_packed(media_type: &str) -> bool {
    !media_type.ends_with(".tar")
}
