//! Anything else that can send JSON: a form of our own, documented in docs/webhooks.md.
//!
//! `{"image": "registry/path:tag@sha256:…", "actor": "…", "pushed_at": "…", "id": "…"}`, or the same under
//! `images` in a list. Only the image with its registry and tag is required.

use super::fields::{Told, at, parts, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use serde_json::Value;
use windlass_types::delivery::{ParsedPush, ReasonCode};

pub(super) const SENDER: Sender = Sender {
    name: "generic",
    recognises,
    read,
};

fn recognises(incoming: &Incoming<'_>) -> bool {
    at(incoming.body, &["image"]).is_some_and(Value::is_string)
        || at(incoming.body, &["images"]).is_some_and(Value::is_array)
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    let body = incoming.body;
    let images: Vec<&Value> = match at(body, &["images"]) {
        Some(Value::Array(images)) => images.iter().collect(),
        Some(_) => return Err(Malformed("images is no list".to_owned())),
        None => vec![body],
    };
    let mut pushes = Vec::new();
    let mut reason = ReasonCode::Empty;
    for image in images {
        match one(incoming, image)? {
            Ok(push) => pushes.push(push),
            Err(why) => reason = why,
        }
    }
    Ok(Reading {
        delivery_id: text(body, &["id"]).map(str::to_owned),
        content: if pushes.is_empty() {
            Content::Ignored(reason)
        } else {
            Content::Pushes(pushes)
        },
    })
}

fn one(
    incoming: &Incoming<'_>,
    image: &Value,
) -> Result<Result<ParsedPush, ReasonCode>, Malformed> {
    let field = |name: &str| text(image, &[name]).or_else(|| text(incoming.body, &[name]));
    let reference = image
        .as_str()
        .or_else(|| text(image, &["image"]))
        .ok_or_else(|| {
            Malformed(
                "image is missing; give the whole reference, as in registry.example.com/team/app:v2"
                    .to_owned(),
            )
        })?;
    let is_host = |host: &str| host.contains(['.', ':']) || host == "localhost";
    let named = parts(reference).filter(|named| is_host(named.host)).ok_or_else(|| {
        Malformed(format!(
            "image: {reference:?} has no registry; give the whole reference, as in registry.example.com/team/app:v2"
        ))
    })?;
    push(
        incoming,
        Told {
            host: Some(named.host),
            path: named.path,
            field: "image",
            tag: named.tag,
            digest: named
                .digest
                .and_then(|digest| digest.to_ascii_lowercase().parse().ok()),
            actor: field("actor"),
            pushed_at: at(image, &["pushed_at"])
                .or_else(|| at(incoming.body, &["pushed_at"]))
                .and_then(time),
        },
    )
}
