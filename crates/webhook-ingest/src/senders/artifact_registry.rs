//! Google's Artifact Registry (and Container Registry before it), by a Pub/Sub push subscription: the
//! event is in the message, in base64, or is the body itself where the subscription unwraps it.
//!
//! Sources: <https://cloud.google.com/artifact-registry/docs/configure-notifications>,
//! <https://cloud.google.com/pubsub/docs/push>.

use super::fields::{Told, at, content, parts, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::Value;
use windlass_types::delivery::ReasonCode;

pub(super) const SENDER: Sender = Sender {
    name: "artifact_registry",
    recognises,
    read,
};

fn recognises(incoming: &Incoming<'_>) -> bool {
    let wrapped = at(incoming.body, &["message"]).is_some_and(Value::is_object)
        && at(incoming.body, &["subscription"]).is_some();
    wrapped || is_unwrapped(incoming.body)
}

/// Whether a body is the event alone.
fn is_unwrapped(body: &Value) -> bool {
    let reference = |field| text(body, &[field]).and_then(parts).is_some();
    matches!(text(body, &["action"]), Some("INSERT" | "DELETE"))
        && (reference("tag") || reference("digest"))
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    if is_unwrapped(incoming.body) {
        let published = incoming
            .header("x-goog-pubsub-publish-time")
            .and_then(|text| time(&Value::from(text)));
        return Ok(Reading {
            delivery_id: None,
            content: event(incoming, incoming.body, published)?,
        });
    }
    let message = at(incoming.body, &["message"])
        .filter(|message| message.is_object())
        .ok_or_else(|| {
            Malformed("message is missing; a push of Pub/Sub has message.data".to_owned())
        })?;
    let id = ["messageId", "message_id"]
        .iter()
        .find_map(|field| text(message, &[field]));
    Ok(Reading {
        delivery_id: id.map(str::to_owned),
        content: wrapped(incoming, message)?,
    })
}

fn wrapped(incoming: &Incoming<'_>, message: &Value) -> Result<Content, Malformed> {
    let Some(data) = text(message, &["data"]) else {
        return Ok(Content::Ignored(ReasonCode::Empty));
    };
    let bytes = STANDARD
        .decode(data)
        .ok()
        .ok_or_else(|| Malformed("message.data is no base64".to_owned()))?;
    let told: Value = serde_json::from_slice(&bytes)
        .ok()
        .ok_or_else(|| Malformed("message.data is no JSON in base64".to_owned()))?;
    let published = ["publishTime", "publish_time"]
        .iter()
        .find_map(|field| at(message, &[field]).and_then(time));
    event(incoming, &told, published)
}

fn event(
    incoming: &Incoming<'_>,
    event: &Value,
    published: Option<DateTime<Utc>>,
) -> Result<Content, Malformed> {
    match text(event, &["action"]) {
        Some("INSERT") => {}
        Some("DELETE") => return Ok(Content::Ignored(ReasonCode::Delete)),
        _ => return Ok(Content::Ignored(ReasonCode::EventType)),
    }
    let by_tag = text(event, &["tag"]).and_then(parts);
    let by_digest = text(event, &["digest"]).and_then(parts);
    let Some(named) = by_tag.or(by_digest) else {
        return Err(Malformed(
            "neither tag nor digest of the event is a reference".to_owned(),
        ));
    };
    let digest = by_digest
        .and_then(|parts| parts.digest)
        .and_then(|digest| digest.to_ascii_lowercase().parse().ok());
    Ok(content(push(
        incoming,
        Told {
            host: Some(named.host),
            path: named.path,
            field: "tag",
            tag: by_tag.and_then(|parts| parts.tag),
            digest,
            actor: None,
            pushed_at: published,
        },
    )?))
}
