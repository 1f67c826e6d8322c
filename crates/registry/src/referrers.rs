//! What refers to a digest: signatures, attestations, bills of materials.

use crate::client::{Ask, Registry};
use crate::content::{MAX_MANIFEST_BYTES, bounded};
use crate::error::Error;
use reqwest::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use windlass_types::image::{Digest, Repository};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What is listed for one digest at most.
const MOST: usize = 1000;

/// Something that refers to a digest, as the distribution specification's list of referrers tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of its manifest.
    #[serde(default)]
    pub media_type: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Bytes of its manifest.
    #[serde(default)]
    pub size: u64,
    /// What it is, such as `application/vnd.dev.cosign.artifact.sig.v1+json`.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// What it says of itself.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

impl Registry {
    /// What refers to a digest, of the first thousand. Registries that do not know the question are
    /// asked for the tag that the specification has in its place (`sha256-…`).
    ///
    /// # Errors
    /// [`Error`] says why it cannot be told. A registry that knows of nothing is no error.
    pub async fn referrers(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Vec<Descriptor>, Error> {
        let image = format!("referrers of {repository}@{digest}");
        let asked = self
            .within(&image, async {
                let answer = self
                    .ask(&Ask {
                        repository,
                        method: Method::GET,
                        path: format!("/v2/{}/referrers/{digest}", repository.path()),
                        accept: Some(INDEX),
                        image: &image,
                    })
                    .await?;
                bounded(&image, answer, MAX_MANIFEST_BYTES).await
            })
            .await;
        match asked {
            // What is no index is the page of a server that answers everything.
            Ok(bytes) => {
                if let Some(found) = read(&bytes) {
                    return Ok(found);
                }
            }
            Err(Error::NotFound { .. } | Error::Other { .. }) => {}
            Err(error) => return Err(error),
        }
        match self
            .manifest(repository, &digest.as_str().replace(':', "-"))
            .await
        {
            Ok(manifest) => read(&manifest.bytes)
                .ok_or_else(|| Error::other(&image, "its list of referrers is no index")),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Descriptor>> {
    let mut index: Index = serde_json::from_slice(bytes).ok()?;
    index.manifests.truncate(MOST);
    Some(index.manifests)
}
