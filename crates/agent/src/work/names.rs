//! Which image goes by which name.

use std::collections::{BTreeMap, BTreeSet};
use windlass_engine::FoundImage;
use windlass_types::image::ImageReference;

/// A name as engines take it: of a tag and a digest, the digest alone.
pub(super) fn plain(image: &ImageReference) -> String {
    match (image.digest(), image.tag()) {
        (Some(digest), _) => format!("{}@{digest}", image.name()),
        (None, tag) => format!("{}:{}", image.name(), tag.unwrap_or("latest")),
    }
}

/// The image by its name in the registry's mirror, where it has one.
pub(super) fn mirrored(
    image: &ImageReference,
    mirrors: &BTreeMap<String, String>,
) -> Option<ImageReference> {
    let repository = image.repository();
    let mirror = mirrors.get(repository.registry())?;
    let mut name = format!("{}/{}", mirror.trim_end_matches('/'), repository.path());
    if let Some(tag) = image.tag() {
        name.push(':');
        name.push_str(tag);
    }
    if let Some(digest) = image.digest() {
        name.push('@');
        name.push_str(digest.as_str());
    }
    name.parse().ok()
}

/// Whether a name of the engine's means this image: the same repository, or its mirror, and the same digest or, where
/// there is none, the same tag.
pub(super) fn means(
    name: &str,
    image: &ImageReference,
    mirrors: &BTreeMap<String, String>,
) -> bool {
    let Ok(has) = name.parse::<ImageReference>() else {
        return false;
    };
    let same_place = has.repository() == image.repository()
        || mirrored(image, mirrors).is_some_and(|there| there.repository() == has.repository());
    let tag = |image: &ImageReference| image.tag().unwrap_or("latest").to_owned();
    same_place
        && match image.digest() {
            Some(digest) => has.digest() == Some(digest),
            None => has.digest().is_none() && tag(&has) == tag(image),
        }
}

/// The image that goes by a target's name.
pub(super) fn find<'a>(
    images: &'a [FoundImage],
    target: &str,
    mirrors: &BTreeMap<String, String>,
) -> Option<&'a FoundImage> {
    let Ok(image) = target.parse::<ImageReference>() else {
        // By its id.
        return images.iter().find(|found| found.id == target);
    };
    images
        .iter()
        .find(|found| found.names.iter().any(|name| means(name, &image, mirrors)))
}

/// The names of an image by which these targets mean it.
pub(super) fn meant<'a>(
    names: &BTreeSet<String>,
    targets: impl IntoIterator<Item = &'a String>,
    mirrors: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    let targets: Vec<ImageReference> = targets
        .into_iter()
        .filter_map(|target| target.parse().ok())
        .collect();
    names
        .iter()
        .filter(|name| targets.iter().any(|target| means(name, target, mirrors)))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(names: &[&str]) -> FoundImage {
        FoundImage {
            id: "sha256:1".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            bytes: 0,
            platform: None,
            layers: Vec::new(),
        }
    }

    fn digest(of: char) -> String {
        format!("sha256:{}", of.to_string().repeat(64))
    }

    #[test]
    fn an_image_is_found_by_its_digest_or_its_tag_and_also_as_its_mirror_calls_it() {
        let mirrors = BTreeMap::from([("docker.io".to_owned(), "mirror:5000/hub".to_owned())]);
        let (a, b) = (digest('a'), digest('b'));
        let there = [
            image(&[&format!("mirror:5000/hub/library/redis@{a}")]),
            image(&["demo:1"]),
        ];
        let found = |target: &str| find(&there, target, &mirrors).is_some();
        assert!(found(&format!("redis:7@{a}")));
        assert!(!found(&format!("redis:7@{b}")));
        assert!(!found(&format!("other.example/redis@{a}")));
        assert!(found("docker.io/library/demo:1"));
        assert!(!found("demo:2"));
    }

    #[test]
    fn only_names_that_a_target_meant_are_meant() {
        let names = ["r:5000/app:v1", "kept/by-hand:1"].map(str::to_owned);
        let pulled = ["r:5000/app:v1".to_owned()];
        assert_eq!(
            meant(&names.into(), &pulled, &BTreeMap::new()),
            BTreeSet::from(["r:5000/app:v1".to_owned()])
        );
    }
}
