//! Images in the engine, and what registries offer by way of it.

use crate::credentials::Login;
use crate::engine::{Engine, QUICK, SLOW};
use crate::error::Error;
use bollard::models::{ImageInspect, OciPlatform};
use bollard::query_parameters::{
    ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use std::collections::BTreeSet;
use windlass_types::image::ImageReference;

/// An image as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundImage {
    /// The engine's id.
    pub id: String,
    /// `repository:tag` and `repository@sha256:…`.
    pub names: BTreeSet<String>,
    /// Its size in bytes.
    pub bytes: u64,
    /// `linux/amd64`; none where it was not asked for.
    pub platform: Option<String>,
    /// The digests of its layers' archives, from the lowest on; empty where they were not asked for.
    pub layers: Vec<String>,
}

/// What a registry has under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The digest of the manifest or the index.
    pub digest: Option<String>,
    /// `os/architecture[/variant]`; empty where the registry does not tell.
    pub platforms: BTreeSet<String>,
}

impl Engine {
    /// All images that have a name.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn images(&self) -> Result<Vec<FoundImage>, Error> {
        // Digests are told without being asked for; Podman 4 answers nothing at all where they are asked for.
        let options = ListImagesOptionsBuilder::default().build();
        let found = self
            .call("list images", SLOW, async |docker| {
                docker.list_images(Some(options)).await
            })
            .await?;
        Ok(found
            .into_iter()
            .map(|image| FoundImage {
                id: image.id,
                names: names(image.repo_tags, image.repo_digests),
                bytes: u64::try_from(image.size).unwrap_or_default(),
                platform: None,
                layers: Vec::new(),
            })
            .filter(|image| !image.names.is_empty())
            .collect())
    }

    /// An image by name or id; none where it is not there.
    ///
    /// # Errors
    /// Where the engine does not answer.
    pub async fn image(&self, name: &str) -> Result<Option<FoundImage>, Error> {
        let asked = self
            .call("inspect image", QUICK, async |docker| {
                docker.inspect_image(name).await
            })
            .await;
        match asked {
            Ok(answer) => Ok(Some(read(answer))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives an image a further name.
    ///
    /// # Errors
    /// Where the image is not there.
    pub async fn tag(&self, image: &str, name: &str, tag: &str) -> Result<(), Error> {
        let options = TagImageOptionsBuilder::default()
            .repo(name)
            .tag(tag)
            .build();
        self.call("tag image", QUICK, async |docker| {
            docker.tag_image(image, Some(options)).await
        })
        .await
    }

    /// Takes a name from an image, and the image with its last one; never by force. A name that is not there
    /// is taken.
    ///
    /// # Errors
    /// [`Error::Conflict`] where a container is made from it.
    pub async fn remove_image(&self, name: &str) -> Result<(), Error> {
        let options = RemoveImageOptionsBuilder::default()
            .force(false)
            .noprune(false)
            .build();
        let done = self
            .call("remove image", SLOW, async |docker| {
                docker.remove_image(name, Some(options), None).await
            })
            .await;
        match done {
            Ok(_) => Ok(()),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the image's registry has under its name. The engine asks, with its own trust and its own way to
    /// the registry.
    ///
    /// # Errors
    /// Where the registry or the engine does not tell; Podman never does.
    pub async fn offered(
        &self,
        image: &ImageReference,
        login: Option<&Login>,
    ) -> Result<Offered, Error> {
        let name = plain_name(image);
        let login = login.map(Login::to_client);
        let told = self
            .call("ask registry", SLOW, async |docker| {
                docker.inspect_registry_image(&name, login).await
            })
            .await?;
        Ok(Offered {
            digest: told.descriptor.digest,
            platforms: told.platforms.iter().filter_map(platform).collect(),
        })
    }
}

/// A name as engines take it: of a tag and a digest, the digest alone.
pub(crate) fn plain_name(image: &ImageReference) -> String {
    match (image.digest(), image.tag()) {
        (Some(digest), _) => format!("{}@{digest}", image.name()),
        (None, tag) => format!("{}:{}", image.name(), tag.unwrap_or("latest")),
    }
}

fn read(answer: ImageInspect) -> FoundImage {
    let platform = platform(&OciPlatform {
        os: answer.os,
        architecture: answer.architecture,
        variant: answer.variant,
        ..Default::default()
    });
    FoundImage {
        id: answer.id.unwrap_or_default(),
        names: names(
            answer.repo_tags.unwrap_or_default(),
            answer.repo_digests.unwrap_or_default(),
        ),
        bytes: answer
            .size
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or_default(),
        platform,
        layers: answer
            .root_fs
            .and_then(|layers| layers.layers)
            .unwrap_or_default(),
    }
}

fn names(tags: Vec<String>, digests: Vec<String>) -> BTreeSet<String> {
    tags.into_iter()
        .chain(digests)
        .filter(|name| !name.starts_with("<none>"))
        .collect()
}

/// None for what is no platform: attestations are filed under `unknown/unknown`.
fn platform(platform: &OciPlatform) -> Option<String> {
    let known = |text: &Option<String>| {
        text.clone()
            .filter(|text| !text.is_empty() && text != "unknown")
    };
    let os = known(&platform.os)?;
    let architecture = known(&platform.architecture)?;
    Some(match known(&platform.variant) {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_tag_and_a_digest_engines_get_the_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (image, plain) in [
            ("demo/app".to_owned(), "demo/app:latest".to_owned()),
            ("r:5000/app:v1".to_owned(), "r:5000/app:v1".to_owned()),
            (
                format!("r:5000/app:v1@{digest}"),
                format!("r:5000/app@{digest}"),
            ),
        ] {
            assert_eq!(plain_name(&image.parse().unwrap()), plain);
        }
    }

    #[test]
    fn what_has_no_system_is_no_platform() {
        let of = |os: &str, architecture: &str, variant: Option<&str>| {
            platform(&OciPlatform {
                os: Some(os.to_owned()),
                architecture: Some(architecture.to_owned()),
                variant: variant.map(str::to_owned),
                ..Default::default()
            })
        };
        assert_eq!(
            of("linux", "arm", Some("v7")).as_deref(),
            Some("linux/arm/v7")
        );
        assert_eq!(
            of("linux", "amd64", Some("")).as_deref(),
            Some("linux/amd64")
        );
        assert_eq!(of("unknown", "unknown", None), None);
    }
}
