//! JFrog Artifactory's webhooks of the domain docker.
//!
//! Source: <https://jfrog.com/help/r/jfrog-platform-administration-documentation/docker-webhook-events>.

use super::fields::{Told, at, content, digest, host_of, push, text};
use super::{Content, Incoming, Malformed, Reading, Sender};
use windlass_types::delivery::ReasonCode;

pub(super) const SENDER: Sender = Sender {
    name: "artifactory",
    recognises,
    read,
};

fn recognises(incoming: &Incoming<'_>) -> bool {
    text(incoming.body, &["domain"]).is_some()
        && text(incoming.body, &["event_type"]).is_some()
        && at(incoming.body, &["data"]).is_some()
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    Ok(Reading {
        delivery_id: None,
        content: event(incoming)?,
    })
}

fn event(incoming: &Incoming<'_>) -> Result<Content, Malformed> {
    let body = incoming.body;
    if text(body, &["domain"]) != Some("docker") {
        return Ok(Content::Ignored(ReasonCode::PackageType));
    }
    match text(body, &["event_type"]) {
        // A promotion puts an image into another repository: there it is a push.
        Some("pushed" | "promoted") => {}
        Some("deleted") => return Ok(Content::Ignored(ReasonCode::Delete)),
        Some(_) => return Ok(Content::Ignored(ReasonCode::EventType)),
        None => return Err(Malformed("event_type is missing".to_owned())),
    }
    let name = text(body, &["data", "image_name"])
        .ok_or_else(|| Malformed("data.image_name is missing".to_owned()))?;
    let key = text(body, &["data", "repo_key"])
        .ok_or_else(|| Malformed("data.repo_key is missing".to_owned()))?;
    let sha = text(body, &["data", "sha256"]).map(|sha| format!("sha256:{sha}"));
    // Only of the manifest itself is the file's hash the digest.
    let of_manifest = matches!(
        text(body, &["data", "name"]),
        Some("manifest.json" | "list.manifest.json")
    );
    Ok(content(push(
        incoming,
        Told {
            host: text(body, &["jpd_origin"]).and_then(host_of),
            path: &format!("{key}/{name}"),
            field: "data.image_name",
            tag: text(body, &["data", "tag"]),
            digest: sha
                .filter(|_| of_manifest)
                .and_then(|sha| sha.to_ascii_lowercase().parse().ok())
                .or_else(|| digest(body, &["data", "digest"])),
            actor: text(body, &["source"]).and_then(|source| source.rsplit('/').next()),
            pushed_at: None,
        },
    )?))
}
