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

/// Why what has this configuration is no image.
pub(super) fn artifact(media_type: &str) -> Option<ReasonCode> {
    if media_type.starts_with("application/vnd.cncf.helm.") {
        Some(ReasonCode::Chart)
    } else if media_type.contains("cosign") || media_type.contains("in-toto") {
        Some(ReasonCode::Signature)
    } else {
        None
    }
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
    let Some(tag) = told.tag.filter(|tag| !tag.starts_with("sha256:")) else {
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
    let repository = Repository::new(host, &told.path.to_ascii_lowercase())
        .map_err(|error| Malformed(format!("{}: {error}", told.field)))?;
    Ok(Ok(ParsedPush {
        repository,
        tag: tag.to_owned(),
        digest: told.digest,
        actor: told.actor.map(str::to_owned),
        pushed_at: told.pushed_at,
    }))
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
