//! Quay's repository notifications, of quay.io and of Quay on one's own host. A push tells its tags
//! without digests; neither signed nor numbered.
//!
//! Source: <https://docs.redhat.com/en/documentation/red_hat_quay/3/html/use_red_hat_quay/repository-notifications>.

use super::fields::{Told, at, digest, parts, push, text};
use super::{Content, Incoming, Malformed, Reading, Sender};
use serde_json::Value;
use windlass_types::delivery::ReasonCode;
use windlass_types::image::Digest;

pub(super) const SENDER: Sender = Sender {
    name: "quay",
    recognises,
    read,
};

fn recognises(incoming: &Incoming<'_>) -> bool {
    at(incoming.body, &["docker_url"]).is_some() && at(incoming.body, &["homepage"]).is_some()
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    Ok(Reading {
        delivery_id: None,
        content: content(incoming)?,
    })
}

fn content(incoming: &Incoming<'_>) -> Result<Content, Malformed> {
    let body = incoming.body;
    let Some(tags) = at(body, &["updated_tags"]) else {
        return Ok(Content::Ignored(no_push(body)));
    };
    // Old versions tell a table of tags and image ids, newer ones a list of tags.
    let tags: Vec<(&str, Option<Digest>)> = match tags {
        Value::Array(tags) => tags
            .iter()
            .filter_map(|tag| Some((tag.as_str()?.trim(), None)))
            .collect(),
        Value::Object(tags) => tags
            .keys()
            .map(|tag| (tag.as_str(), digest(body, &["updated_tags", tag.as_str()])))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(Malformed("updated_tags is no list of tags".to_owned()));
        }
    };
    let url = text(body, &["docker_url"]).and_then(parts);
    let path = text(body, &["repository"])
        .or(url.map(|url| url.path))
        .ok_or_else(|| Malformed("repository is missing".to_owned()))?;
    let mut pushes = Vec::new();
    let mut reason = ReasonCode::Empty;
    for (tag, digest) in tags {
        match push(
            incoming,
            Told {
                host: url.map(|url| url.host),
                path,
                field: "repository",
                tag: Some(tag),
                digest,
                ..Told::default()
            },
        )? {
            Ok(one) => pushes.push(one),
            Err(why) => reason = why,
        }
    }
    Ok(if pushes.is_empty() {
        Content::Ignored(reason)
    } else {
        Content::Pushes(pushes)
    })
}

/// What a notification without updated tags is about.
fn no_push(body: &Value) -> ReasonCode {
    if at(body, &["build_id"]).is_some() {
        ReasonCode::Build
    } else if at(body, &["vulnerability"]).is_some() {
        ReasonCode::Scan
    } else if at(body, &["expiring_in"]).is_some() || at(body, &["deleted_tags"]).is_some() {
        ReasonCode::Delete
    } else if text(body, &["message"])
        .is_some_and(|text| text.to_ascii_lowercase().contains("mirror"))
    {
        ReasonCode::Mirror
    } else {
        ReasonCode::EventType
    }
}
