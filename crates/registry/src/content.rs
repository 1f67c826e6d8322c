//! Manifests and blobs, checked against their digests.

use crate::client::{Ask, Registry};
use crate::error::Error;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response};
use sha2::{Digest as _, Sha256};
use windlass_types::image::{Digest, InvalidImage, Repository};

/// Everything a tag may name. Without an index in it a registry would answer with the manifest of one
/// platform, and devices of others could not pull what is shipped.
pub(crate) const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The largest manifest that is read: the size that the distribution specification asks registries to
/// take.
pub(crate) const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// A manifest or index as the registry holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its media type as the registry tells it, without parameters; what it says of itself where the
    /// registry tells none.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Registry {
    /// The manifest or index that a tag or a digest names. One that is asked for by digest has that
    /// digest.
    ///
    /// # Errors
    /// [`Error`] says why it cannot be had.
    pub async fn manifest(
        &self,
        repository: &Repository,
        tag_or_digest: &str,
    ) -> Result<Manifest, Error> {
        let wanted: Option<Digest> = tag_or_digest.parse().ok();
        let joint = if wanted.is_some() { '@' } else { ':' };
        let image = format!("{repository}{joint}{tag_or_digest}");
        self.within(&image, async {
            let answer = self
                .ask(&Ask {
                    repository,
                    method: Method::GET,
                    path: manifest_path(repository, tag_or_digest),
                    accept: Some(MANIFESTS),
                    image: &image,
                })
                .await?;
            let media_type = media_type(&answer);
            let told = told_digest(&image, &answer)?;
            let bytes = bounded(&image, answer, MAX_MANIFEST_BYTES).await?;
            let digest = digest_of(&bytes).map_err(|error| Error::other(&image, error))?;
            if wanted.or(told).is_some_and(|expected| expected != digest) {
                return Err(Error::Mismatch {
                    image: image.clone(),
                    got: digest,
                });
            }
            let media_type = match media_type {
                Some(told) => told,
                None => own_media_type(&bytes),
            };
            Ok(Manifest {
                digest,
                media_type,
                bytes,
            })
        })
        .await
    }

    /// The blob with this digest, of `most` bytes at most.
    ///
    /// # Errors
    /// [`Error`] says why it cannot be had.
    pub async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        most: usize,
    ) -> Result<Vec<u8>, Error> {
        let image = format!("{repository}@{digest}");
        self.within(&image, async {
            let answer = self
                .ask(&Ask {
                    repository,
                    method: Method::GET,
                    path: format!("/v2/{}/blobs/{digest}", repository.path()),
                    accept: None,
                    image: &image,
                })
                .await?;
            let bytes = bounded(&image, answer, most).await?;
            let got = digest_of(&bytes).map_err(|error| Error::other(&image, error))?;
            if got == *digest {
                Ok(bytes)
            } else {
                Err(Error::Mismatch {
                    image: image.clone(),
                    got,
                })
            }
        })
        .await
    }
}

pub(crate) fn manifest_path(repository: &Repository, tag_or_digest: &str) -> String {
    format!("/v2/{}/manifests/{tag_or_digest}", repository.path())
}

/// The digest that an answer names in its header, where it does.
pub(crate) fn told_digest(image: &str, answer: &Response) -> Result<Option<Digest>, Error> {
    let Some(told) = answer.headers().get("docker-content-digest") else {
        return Ok(None);
    };
    told.to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or_else(|| Error::other(image, "its Docker-Content-Digest is no sha256 digest"))
}

/// The media type that an answer names, without parameters.
pub(crate) fn media_type(answer: &Response) -> Option<String> {
    let told = answer.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let bare = told.split(';').next().unwrap_or_default().trim();
    (!bare.is_empty()).then(|| bare.to_ascii_lowercase())
}

/// What a manifest calls itself; nothing where it does not.
fn own_media_type(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Own {
        #[serde(rename = "mediaType", default)]
        media_type: String,
    }
    serde_json::from_slice::<Own>(bytes).map_or_else(|_| String::new(), |own| own.media_type)
}

/// The bytes of an answer, `most` at most.
pub(crate) async fn bounded(
    image: &str,
    mut answer: Response,
    most: usize,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| Error::of_request(image, &error.without_url()))?
    {
        if bytes.len() + chunk.len() > most {
            return Err(Error::other(
                image,
                format_args!("it is larger than {most} bytes"),
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The digest of bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> Result<Digest, InvalidImage> {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes))).parse()
}
