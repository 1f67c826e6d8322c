//! Image references, as written by people and as compared by programs.
//!
//! Grammar: <https://github.com/distribution/reference>; digests: OCI image spec, descriptor.md.

use serde::{Deserialize, Serialize};

/// The registry that a name without one means.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// Why a text is no image reference, repository or digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImage {
    /// Nothing was given.
    #[error("an image reference is empty; expected repository[:tag][@sha256:…]")]
    Empty,
    /// The repository part has a character or form that no registry takes.
    #[error("{0:?} is no repository: lower-case path components of a-z, 0-9, '.', '_', '-'")]
    Repository(String),
    /// The tag is longer than 128 or has a character outside `A-Z a-z 0-9 _ . -`.
    #[error("{0:?} is no tag: up to 128 letters, digits, '_', '.', '-'")]
    Tag(String),
    /// The digest is not `sha256:` and 64 lower-case hex digits.
    #[error("{0:?} is no digest: expected sha256: and 64 lower-case hex digits")]
    Digest(String),
}

/// A content digest: `sha256:` and 64 lower-case hex digits.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^sha256:[0-9a-f]{64}$")]
pub struct Digest(String);

impl Digest {
    /// The digest as text, algorithm included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256:` and the first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..19).unwrap_or(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidImage;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let ok = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if ok {
            Ok(Self(text))
        } else {
            Err(InvalidImage::Digest(text))
        }
    }
}

impl std::str::FromStr for Digest {
    type Err = InvalidImage;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// A repository in canonical form: registry host (lower case, port kept, Docker Hub is `docker.io`)
/// and path (`library/` supplied for Docker Hub's official images).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Repository {
    registry: String,
    path: String,
}

impl Repository {
    /// A repository from its two parts, normalised.
    ///
    /// # Errors
    /// [`InvalidImage::Repository`] where the path has an empty or upper-case component.
    pub fn new(registry: &str, path: &str) -> Result<Self, InvalidImage> {
        let registry = canonical_registry(registry);
        let path = path.trim_matches('/');
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        let host_ok = !registry.is_empty()
            && registry
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b));
        let path_ok = path.len() <= 255 && path.split('/').all(component_ok);
        if host_ok && path_ok {
            Ok(Self { registry, path })
        } else {
            Err(InvalidImage::Repository(format!("{registry}/{path}")))
        }
    }

    /// The registry's host, with port where it has one.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn canonical_registry(host: &str) -> String {
    let host = host.trim().to_ascii_lowercase();
    match host.as_str() {
        ""
        | "index.docker.io"
        | "registry-1.docker.io"
        | "registry.hub.docker.com"
        | "hub.docker.com" => DEFAULT_REGISTRY.to_owned(),
        _ => host,
    }
}

fn component_ok(component: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(component.bytes().next())
        && edge(component.bytes().last())
        && component
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl std::str::FromStr for Repository {
    type Err = InvalidImage;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidImage::Empty);
        }
        match text.split_once('/') {
            Some((host, path)) if is_host(host) => Self::new(host, path),
            _ => Self::new(DEFAULT_REGISTRY, text),
        }
    }
}

impl TryFrom<String> for Repository {
    type Error = InvalidImage;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Repository> for String {
    fn from(repository: Repository) -> Self {
        repository.to_string()
    }
}

/// Whether the first component of a name is a registry's host rather than a path on Docker Hub.
fn is_host(first: &str) -> bool {
    first.contains(['.', ':'])
        || first == "localhost"
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// Whether a text may stand as a tag.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let head = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    head && text.len() <= 128
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// A reference to an image: `repository[:tag][@digest]`, remembering how its name was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    name: String,
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageReference {
    /// The name as it was written, without tag and digest.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The repository it means, in canonical form.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The tag, where one is given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one is given.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same image under the same written name with another tag and digest.
    #[must_use]
    pub fn with_version(&self, tag: Option<&str>, digest: Option<&Digest>) -> Self {
        Self {
            name: self.name.clone(),
            repository: self.repository.clone(),
            tag: tag.map(str::to_owned),
            digest: digest.cloned(),
        }
    }

    /// A reference into a canonical repository.
    #[must_use]
    pub fn of(repository: &Repository, tag: Option<&str>, digest: Option<&Digest>) -> Self {
        Self {
            name: repository.to_string(),
            repository: repository.clone(),
            tag: tag.map(str::to_owned),
            digest: digest.cloned(),
        }
    }
}

impl std::str::FromStr for ImageReference {
    type Err = InvalidImage;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidImage::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it belongs to the port.
        let slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (head, last) = rest.split_at(slash);
        let (name, tag) = match last.split_once(':') {
            Some((base, tag)) => (format!("{head}{base}"), Some(tag.to_owned())),
            None => (rest.to_owned(), None),
        };
        if let Some(tag) = &tag
            && !is_tag(tag)
        {
            return Err(InvalidImage::Tag(tag.clone()));
        }
        let repository = name.parse()?;
        Ok(Self {
            name,
            repository,
            tag,
            digest,
        })
    }
}

impl std::fmt::Display for ImageReference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ImageReference {
    type Error = InvalidImage;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(image: ImageReference) -> Self {
        image.to_string()
    }
}

/// Both are plain strings on the wire.
macro_rules! string_schema {
    ($type:ty, $name:literal, $example:literal) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .examples([$example])
                    .into()
            }
        }
        impl utoipa::ToSchema for $type {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    };
}
string_schema!(Repository, "Repository", "docker.io/library/nginx");
string_schema!(
    ImageReference,
    "ImageReference",
    "registry:5000/demo/app:v2"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let d = format!("sha256:{}", "a".repeat(64));
        let cases = [
            ("nginx", "docker.io/library/nginx", None, false),
            ("nginx:1.27", "docker.io/library/nginx", Some("1.27"), false),
            ("demo/app:v2", "docker.io/demo/app", Some("v2"), false),
            (
                "index.docker.io/demo/app",
                "docker.io/demo/app",
                None,
                false,
            ),
            (
                "registry:5000/demo/app:v2",
                "registry:5000/demo/app",
                Some("v2"),
                false,
            ),
            (
                "GHCR.io/acme/app/sub:V2",
                "ghcr.io/acme/app/sub",
                Some("V2"),
                false,
            ),
            ("localhost/app", "localhost/app", None, false),
        ];
        for (text, repository, tag, _) in cases {
            let image: ImageReference = text.parse().unwrap();
            assert_eq!(image.repository().to_string(), repository, "{text}");
            assert_eq!(image.tag(), tag, "{text}");
            assert_eq!(
                image.to_string(),
                text,
                "a reference writes itself as it was written"
            );
        }
        let full: ImageReference = format!("r.io:5000/a/b:t@{d}").parse().unwrap();
        assert_eq!(
            (full.tag(), full.digest().unwrap().as_str()),
            (Some("t"), d.as_str())
        );
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            "a/Upper",
            "a//b",
            "app:",
            "app:bad tag",
            "app@sha256:short",
            "-a",
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn another_version_keeps_the_written_name() {
        let image: ImageReference = "registry:5000/demo/app:v1".parse().unwrap();
        let digest: Digest = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
        assert_eq!(
            image.with_version(Some("v2"), Some(&digest)).to_string(),
            format!("registry:5000/demo/app:v2@{digest}")
        );
    }
}
