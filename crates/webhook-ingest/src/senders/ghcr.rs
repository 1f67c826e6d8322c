//! GitHub's events about packages in its container registry. One push leads to both `package` and
//! `registry_package`, each with an id of its own.
//!
//! Source: <https://docs.github.com/en/webhooks/webhook-events-and-payloads#package>.

use super::fields::{self, artifact, at, attachment, digest, named, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use chrono::{DateTime, Utc};
use serde_json::Value;
use windlass_types::delivery::{ParsedPush, ReasonCode};
use windlass_types::image::{Digest, Repository, is_tag};

pub(super) const SENDER: Sender = Sender {
    name: "ghcr",
    recognises,
    read,
};

const REGISTRY: &str = "ghcr.io";
/// The two events that tell of a push; their payload is under a key of the same name.
const EVENTS: [&str; 2] = ["registry_package", "package"];

fn recognises(incoming: &Incoming<'_>) -> bool {
    // Gitea and Forgejo send GitHub's headers beside their own.
    (incoming.header("x-github-event").is_some() && incoming.header("x-gitea-event").is_none())
        || EVENTS
            .iter()
            .any(|event| at(incoming.body, &[event, "package_version"]).is_some())
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    Ok(Reading {
        delivery_id: incoming.header("x-github-delivery").map(str::to_owned),
        content: content(incoming)?,
    })
}

fn content(incoming: &Incoming<'_>) -> Result<Content, Malformed> {
    let body = incoming.body;
    let ignored = |reason| Ok(Content::Ignored(reason));
    match incoming.header("x-github-event") {
        Some("ping") => return ignored(ReasonCode::Ping),
        Some(event) if !EVENTS.contains(&event) => return ignored(ReasonCode::EventType),
        _ => {}
    }
    let package = EVENTS
        .iter()
        .find_map(|event| at(body, &[event]).filter(|package| package.is_object()))
        .ok_or_else(|| {
            Malformed(
                "neither package nor registry_package is there; GitHub's package events have one"
                    .to_owned(),
            )
        })?;
    match text(body, &["action"]) {
        Some("published" | "updated") => {}
        Some("deleted") => return ignored(ReasonCode::Delete),
        Some(_) => return ignored(ReasonCode::EventType),
        None => return Err(Malformed("action is missing".to_owned())),
    }
    let is_image = ["package_type", "ecosystem"].iter().any(|field| {
        text(package, &[field]).is_some_and(|kind| {
            kind.eq_ignore_ascii_case("container") || kind.eq_ignore_ascii_case("docker")
        })
    });
    if !is_image {
        return ignored(ReasonCode::PackageType);
    }
    let version = at(package, &["package_version"])
        .filter(|version| version.is_object())
        .ok_or_else(|| Malformed("package_version is missing".to_owned()))?;
    let metadata = ["container_metadata", "manifest"];
    let config = [metadata[0], metadata[1], "config", "media_type"];
    let kind = text(version, &config).and_then(artifact);
    let url = text(version, &["package_url"]);
    let tag = text(version, &["container_metadata", "tag", "name"])
        .or_else(|| url.and_then(tag_of))
        .and_then(|tag| named(tag).0);
    let Some(tag) = tag else {
        return ignored(kind.unwrap_or(ReasonCode::Untagged));
    };
    if !is_tag(tag) {
        return Err(Malformed(format!("{tag:?} is no tag")));
    }
    if let Some(reason) = kind.or_else(|| attachment(tag)) {
        return ignored(reason);
    }
    Ok(Content::Pushes(vec![ParsedPush {
        repository: repository(incoming, package, url)?,
        tag: tag.to_owned(),
        digest: digest_of(version),
        actor: text(body, &["sender", "login"])
            .or_else(|| text(version, &["author", "login"]))
            .map(str::to_owned),
        pushed_at: pushed_at(package, version),
    }]))
}

/// The tag in `ghcr.io/owner/name:tag`.
fn tag_of(url: &str) -> Option<&str> {
    let (_, last) = url.rsplit_once('/')?;
    let (_, tag) = last.split_once(':')?;
    (!tag.is_empty()).then_some(tag)
}

/// Where it was pushed to: as the address says, else made from owner and name. GitHub keeps the case
/// of the owner's name; the registry takes lower case only.
fn repository(
    incoming: &Incoming<'_>,
    package: &Value,
    url: Option<&str>,
) -> Result<Repository, Malformed> {
    let of_url = url.and_then(|url| {
        let url = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (host, path) = url.split_once('/')?;
        let path = path.split_once('@').map_or(path, |(path, _)| path);
        let path = path.split_once(':').map_or(path, |(path, _)| path);
        Some((host.to_owned(), path.to_owned()))
    });
    let of_names = || {
        let name = text(package, &["name"])?;
        let owner = text(package, &["namespace"]).or_else(|| text(package, &["owner", "login"]))?;
        Some((REGISTRY.to_owned(), format!("{owner}/{name}")))
    };
    let (host, path) = of_url.or_else(of_names).ok_or_else(|| {
        Malformed("package_version.package_url is missing, and so are name and owner".to_owned())
    })?;
    let host = incoming.registry.unwrap_or(&host);
    fields::repository(host, &path)
        .map_err(|error| Malformed(format!("package_version.package_url: {error}")))
}

/// The manifest's digest. The tag's own field has been seen with a commit in it; the version's name
/// is the digest too.
fn digest_of(version: &Value) -> Option<Digest> {
    [
        &["container_metadata", "tag", "digest"][..],
        &["container_metadata", "manifest", "digest"],
        &["version"],
        &["name"],
    ]
    .iter()
    .find_map(|path| digest(version, path))
}

/// When the package changed last. A tag can be moved to a version that was made long ago, so the
/// version's own times are not enough.
fn pushed_at(package: &Value, version: &Value) -> Option<DateTime<Utc>> {
    let updated = [package, version]
        .into_iter()
        .filter_map(|holder| at(holder, &["updated_at"]).and_then(time))
        .max();
    updated.or_else(|| at(version, &["created_at"]).and_then(time))
}
