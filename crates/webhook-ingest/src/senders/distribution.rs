//! Notifications of the CNCF Distribution registry: envelopes of events that need not belong together.
//!
//! Source: <https://distribution.github.io/distribution/about/notifications/>. The registry repeats an
//! envelope until it gets a 2xx, so an odd event is left out rather than refused.

use super::fields::{artifact, at, attachment, digest, host_of, named, repository, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use serde_json::Value;
use windlass_types::delivery::{ParsedPush, ReasonCode};
use windlass_types::image::{Repository, is_tag};

pub(super) const SENDER: Sender = Sender {
    name: "distribution",
    recognises,
    read,
};

/// Manifests and indices, of Docker's first and second schema and of OCI. What has another type is a
/// layer or a configuration.
const MANIFESTS: [&str; 6] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
];

fn recognises(incoming: &Incoming<'_>) -> bool {
    incoming.header("x-github-event").is_none()
        && at(incoming.body, &["events"]).is_some_and(Value::is_array)
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    let events = at(incoming.body, &["events"])
        .and_then(Value::as_array)
        .ok_or_else(|| {
            Malformed(
                "events is missing; a notification of Distribution is an envelope {\"events\": […]}"
                    .to_owned(),
            )
        })?;
    let mut pushes = Vec::new();
    let mut reasons = Vec::new();
    for (number, event) in events.iter().enumerate() {
        match read_event(incoming, number, event)? {
            Ok(push) => pushes.push(push),
            Err(reason) => reasons.push(reason),
        }
    }
    // An image push is told with its layers; of what is no push at all, the layers say least.
    let reason = reasons
        .iter()
        .find(|reason| !matches!(reason, ReasonCode::Blob | ReasonCode::Mount))
        .or(reasons.first());
    let delivery_id = match events.as_slice() {
        [event] => text(event, &["id"]).map(str::to_owned),
        _ => None,
    };
    Ok(Reading {
        delivery_id,
        content: if pushes.is_empty() {
            Content::Ignored(reason.copied().unwrap_or(ReasonCode::Empty))
        } else {
            Content::Pushes(pushes)
        },
    })
}

/// A push, or why the event is none. Fails only where the endpoint has to be configured otherwise.
fn read_event(
    incoming: &Incoming<'_>,
    number: usize,
    event: &Value,
) -> Result<Result<ParsedPush, ReasonCode>, Malformed> {
    match text(event, &["action"]) {
        Some("push") => {}
        Some("pull") => return Ok(Err(ReasonCode::Pull)),
        Some("delete") => return Ok(Err(ReasonCode::Delete)),
        Some("mount") => return Ok(Err(ReasonCode::Mount)),
        _ => return Ok(Err(ReasonCode::EventType)),
    }
    let kind = text(event, &["target", "mediaType"]).unwrap_or_default();
    if !MANIFESTS.contains(&kind) {
        return Ok(Err(ReasonCode::Blob));
    }
    let artifact_type = text(event, &["target", "artifactType"]).and_then(artifact);
    let Some(tag) = text(event, &["target", "tag"]).and_then(|tag| named(tag).0) else {
        return Ok(Err(artifact_type.unwrap_or(ReasonCode::Untagged)));
    };
    if let Some(reason) = artifact_type.or_else(|| attachment(tag)) {
        return Ok(Err(reason));
    }
    let (Some(path), true) = (text(event, &["target", "repository"]), is_tag(tag)) else {
        return Ok(Err(ReasonCode::EventType));
    };
    let Some(host) = incoming
        .registry
        .or_else(|| text(event, &["request", "host"]))
        .or_else(|| text(event, &["target", "url"]).and_then(host_of))
    else {
        return Err(Malformed(format!(
            "events[{number}].request.host is missing; set the endpoint's registry in the configuration"
        )));
    };
    if Repository::new("any.host", &path.to_ascii_lowercase()).is_err() {
        return Ok(Err(ReasonCode::EventType));
    }
    let repository = repository(host, path)
        .map_err(|error| Malformed(format!("events[{number}].request.host: {error}")))?;
    Ok(Ok(ParsedPush {
        repository,
        tag: tag.to_owned(),
        digest: digest(event, &["target", "digest"]),
        actor: text(event, &["actor", "name"]).map(str::to_owned),
        pushed_at: at(event, &["timestamp"]).and_then(time),
    }))
}
