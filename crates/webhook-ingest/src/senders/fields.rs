//! Reading fields of JSON that somebody else wrote.

use super::{Content, Incoming, Malformed};
use chrono::{DateTime, Utc};
use serde_json::Value;
use windlass_types::delivery::{ParsedPush, ReasonCode};
use windlass_types::image::{Digest, Repository, is_tag};

/// The text at a path of keys, without the space around it; `None` where there is none or it is empty.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    let text = at(value, path)?.as_str()?.trim();
    (!text.is_empty()).then_some(text)
}

/// The value at a path of keys.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The digest at a path, where it is one. Senders are known to put commits and cut-off digests there.
pub(super) fn digest(value: &Value, path: &[&str]) -> Option<Digest> {
    text(value, path)?.to_ascii_lowercase().parse().ok()
}

/// Why a tag is none of an image: tools keep signatures and attestations of an image under tags made
/// from its digest (`sha256-<hex>.sig`, and `sha256-<hex>` by the referrers tag schema of the OCI
/// distribution specification).
pub(super) fn attachment(tag: &str) -> Option<ReasonCode> {
    let hex = tag.strip_prefix("sha256-")?.get(..64)?;
    hex.bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(ReasonCode::Signature)
}

/// What the media types of signatures, attestations and bills of materials have in them.
const ATTACHED: [&str; 6] = [
    "cosign",
    "in-toto",
    "sigstore",
    "notary.signature",
    "spdx",
    "cyclonedx",
];

/// Why what has this configuration is no image.
pub(super) fn artifact(media_type: &str) -> Option<ReasonCode> {
    if media_type.starts_with("application/vnd.cncf.helm.") {
        Some(ReasonCode::Chart)
    } else if ATTACHED.iter().any(|part| media_type.contains(part)) {
        Some(ReasonCode::Signature)
    } else {
        None
    }
}

/// What stands where a tag is to be: the tag, and the digest where a whole reference stands there. A
/// digest alone means that the manifest has no tag.
pub(super) fn named(text: &str) -> (Option<&str>, Option<&str>) {
    if is_tag(text) {
        return (Some(text), None);
    }
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some(_) if is_digest_like(name) => (None, Some(name)),
        Some((_, tag)) if !tag.is_empty() => (Some(tag), digest),
        // A reference without a tag; a text that is none stays, to be refused by its name.
        _ if digest.is_some_and(is_digest_like) => (None, digest),
        _ => (Some(text), None),
    }
}

/// Whether a text is a digest in some algorithm: what registries put where there is no tag.
fn is_digest_like(text: &str) -> bool {
    // Also one that is cut short or misspelt: it is no tag either.
    ["sha256:", "sha384:", "sha512:"].iter().any(|algorithm| {
        text.get(..algorithm.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(algorithm))
    })
}

/// A push as a sender tells it.
#[derive(Debug, Clone, Default)]
pub(super) struct Told<'a> {
    /// The registry's host; the endpoint's own goes before it.
    pub(super) host: Option<&'a str>,
    /// The repository's path on it.
    pub(super) path: &'a str,
    /// The field that the path is from, for messages.
    pub(super) field: &'static str,
    /// What stands where the tag is to be.
    pub(super) tag: Option<&'a str>,
    /// The manifest's digest.
    pub(super) digest: Option<Digest>,
    /// Who pushed.
    pub(super) actor: Option<&'a str>,
    /// When.
    pub(super) pushed_at: Option<DateTime<Utc>>,
}

/// What a told push is: a push of an image, or why it is none. A digest in the place of the tag means
/// that the manifest has no tag.
pub(super) fn push(
    incoming: &Incoming<'_>,
    told: Told<'_>,
) -> Result<Result<ParsedPush, ReasonCode>, Malformed> {
    // A path may be a whole reference too: its tag counts where no other is told.
    let (path, of_path) = split_path(told.path.trim().trim_matches('/'), told.host);
    let (tag, digest) = match told.tag.or(of_path) {
        Some(text) => named(text),
        None => (None, None),
    };
    let Some(tag) = tag else {
        return Ok(Err(ReasonCode::Untagged));
    };
    if let Some(reason) = attachment(tag) {
        return Ok(Err(reason));
    }
    if !is_tag(tag) {
        return Err(Malformed(format!("{tag:?} is no tag")));
    }
    let host = incoming.registry.or(told.host).ok_or_else(|| {
        Malformed(
            "the delivery names no registry; set the endpoint's registry in the configuration"
                .to_owned(),
        )
    })?;
    let repository =
        repository(host, path).map_err(|error| Malformed(format!("{}: {error}", told.field)))?;
    Ok(Ok(ParsedPush {
        repository,
        tag: tag.to_owned(),
        digest: told
            .digest
            .or_else(|| digest?.to_ascii_lowercase().parse().ok()),
        actor: told.actor.map(str::to_owned),
        pushed_at: told.pushed_at,
    }))
}

/// A repository at a host, in lower case.
///
/// # Errors
/// A text that says what is wrong with it. A host without a dot and a port is wrong too: an image that
/// is named by it is one of Docker Hub's wherever images are named, on devices as well as here.
pub(super) fn repository(host: &str, path: &str) -> Result<Repository, String> {
    let made =
        Repository::new(host, &path.to_ascii_lowercase()).map_err(|error| error.to_string())?;
    if made.to_string().parse().as_ref() == Ok(&made) {
        Ok(made)
    } else {
        Err(format!(
            "{host:?} is no host that an image can be named by; set the endpoint's registry in the \
             configuration"
        ))
    }
}

/// A path without the host before it and without what follows its last part, and that.
fn split_path<'a>(path: &'a str, host: Option<&str>) -> (&'a str, Option<&'a str>) {
    let path = host
        .and_then(|host| {
            let (first, rest) = path.split_at_checked(host.len())?;
            (!host.is_empty() && first.eq_ignore_ascii_case(host)).then_some(rest)
        })
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(path);
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    let end = path
        .char_indices()
        .find(|(at, letter)| *at >= last && matches!(letter, ':' | '@'));
    match end.and_then(|(at, letter)| Some((path.get(..at)?, path.get(at + letter.len_utf8()..)?)))
    {
        Some((bare, rest)) => (bare, Some(rest).filter(|rest| !rest.is_empty())),
        None => (path, None),
    }
}

/// The content of one push.
pub(super) fn content(push: Result<ParsedPush, ReasonCode>) -> Content {
    match push {
        Ok(push) => Content::Pushes(vec![push]),
        Err(reason) => Content::Ignored(reason),
    }
}

/// The host of an address, with its port.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    (!host.is_empty()).then_some(host)
}

/// A reference as registries write it in one text, `host/path:tag@digest`, in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// The host with its port.
    pub(super) host: &'a str,
    /// The path.
    pub(super) path: &'a str,
    /// The tag.
    pub(super) tag: Option<&'a str>,
    /// The digest as written.
    pub(super) digest: Option<&'a str>,
}

/// Splits such a reference; `None` where there is no host before a slash.
pub(super) fn parts(reference: &str) -> Option<Parts<'_>> {
    let reference = reference
        .split_once("://")
        .map_or(reference, |(_, rest)| rest);
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    let (host, rest) = name.split_once('/')?;
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    (!host.is_empty() && !path.is_empty()).then_some(Parts {
        host,
        path,
        tag: tag.filter(|tag| !tag.is_empty()),
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn what_stands_in_the_place_of_a_tag_is_taken_apart() {
        let whole = format!("r.io/team/app:v1@{SHA}");
        let untagged = format!("r.io/team/app@{SHA}");
        let upper = SHA.to_uppercase().replace("SHA256", "sha512");
        let cases = [
            ("v1", (Some("v1"), None)),
            ("V1.0_rc-2", (Some("V1.0_rc-2"), None)),
            (SHA, (None, Some(SHA))),
            (&upper, (None, Some(upper.as_str()))),
            (&whole, (Some("v1"), Some(SHA))),
            (&untagged, (None, Some(SHA))),
            ("r.io:5000/team/app:v1", (Some("v1"), None)),
            ("app:v1", (Some("v1"), None)),
            // No tag and no reference: the caller refuses it by its name.
            ("no tag", (Some("no tag"), None)),
            ("r.io:5000/team/app", (Some("r.io:5000/team/app"), None)),
            ("a:", (Some("a:"), None)),
            ("sha256:abc", (None, Some("sha256:abc"))),
        ];
        for (text, expected) in cases {
            assert_eq!(named(text), expected, "{text}");
        }
    }

    #[test]
    fn a_host_must_be_one_that_names_are_read_back_with() {
        for host in [
            "r.io",
            "registry:5000",
            "localhost",
            "[::1]:5000",
            "R.IO",
            "",
        ] {
            assert!(repository(host, "team/app").is_ok(), "{host}");
        }
        for host in ["registry", "a]b", "x/y", " ", "registry\n"] {
            // White space around a host is none of it.
            let made = repository(host, "team/app");
            assert!(
                made.is_err() || host.trim().is_empty(),
                "{host:?}: {made:?}"
            );
        }
        assert!(repository("r.io", "Team/App").is_ok());
        assert!(repository("r.io", "team//app").is_err());
    }

    #[test]
    fn a_path_loses_its_host_and_its_tag() {
        let cases = [
            ("team/app", None, ("team/app", None)),
            ("r.io/team/app", Some("r.io"), ("team/app", None)),
            ("R.io/team/app:v1", Some("r.io"), ("team/app", Some("v1"))),
            ("r.iox/app", Some("r.io"), ("r.iox/app", None)),
            ("r.io:5000/app", Some("r.io:5000"), ("app", None)),
            ("team/app@sha256:1", None, ("team/app", Some("sha256:1"))),
            ("team/app:", None, ("team/app", None)),
            ("", Some(""), ("", None)),
        ];
        for (path, host, expected) in cases {
            assert_eq!(split_path(path, host), expected, "{path}");
        }
    }
}
