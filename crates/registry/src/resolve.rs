//! From a tag to the digest of the manifest or index that it names.

use crate::client::{Ask, Registry};
use crate::content::{
    MANIFESTS, MAX_MANIFEST_BYTES, bounded, digest_of, manifest_path, media_type, told_digest,
};
use crate::error::Error;
use reqwest::Method;
use windlass_types::image::{Digest, Repository};

/// What a tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The digest of the index where there is one, else of the manifest.
    pub digest: Digest,
    /// Its media type as the registry tells it, in lower case and without parameters; none where it
    /// tells none.
    pub media_type: Option<String>,
}

impl Registry {
    /// The digest of what a tag names: of the index where there is one, else of the manifest.
    ///
    /// # Errors
    /// [`Error`] says why it cannot be told.
    pub async fn digest(&self, repository: &Repository, tag: &str) -> Result<Digest, Error> {
        Ok(self.resolve(repository, tag).await?.digest)
    }

    /// What a tag names, by HEAD; a registry that does not tell it there is asked for the manifest.
    ///
    /// # Errors
    /// [`Error`] says why it cannot be told.
    pub async fn resolve(&self, repository: &Repository, tag: &str) -> Result<Found, Error> {
        let image = format!("{repository}:{tag}");
        let ask = |method| Ask {
            repository,
            method,
            path: manifest_path(repository, tag),
            accept: Some(MANIFESTS),
            image: &image,
        };
        self.within(&image, async {
            let answer = self.ask(&ask(Method::HEAD)).await?;
            if let Some(digest) = told_digest(&image, &answer)? {
                return Ok(Found {
                    digest,
                    media_type: media_type(&answer),
                });
            }
            // Registries need not send the header; the digest is that of the bytes.
            let answer = self.ask(&ask(Method::GET)).await?;
            let media_type = media_type(&answer);
            let bytes = bounded(&image, answer, MAX_MANIFEST_BYTES).await?;
            let digest = digest_of(&bytes).map_err(|error| Error::other(&image, error))?;
            Ok(Found { digest, media_type })
        })
        .await
    }
}
