//! Amazon's Elastic Container Registry, by EventBridge: an API destination sends the event as it is, a
//! topic of SNS in a message of its own, and what speaks CloudEvents around it or with its fields as
//! attributes.
//!
//! Source: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>.

use super::fields::{Told, artifact, at, content, digest, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use serde_json::Value;
use windlass_types::delivery::ReasonCode;

pub(super) const SENDER: Sender = Sender {
    name: "ecr",
    recognises,
    read,
};

const SOURCES: [&str; 2] = ["aws.ecr", "aws.inspector2"];

/// The event in a delivery, and the CloudEvent around it where there is one.
struct Event<'a> {
    /// What the fields of EventBridge are read from.
    body: &'a Value,
    /// What happened: EventBridge's `detail-type`.
    kind: &'a str,
    detail: &'a Value,
}

fn event_in(body: &Value) -> Option<Event<'_>> {
    let of_bridge = |body: &'_ Value| {
        text(body, &["source"]).is_some_and(|source| SOURCES.contains(&source))
            && at(body, &["detail"]).is_some()
    };
    let bridge = |body| {
        Some(Event {
            body,
            kind: text(body, &["detail-type"]).unwrap_or_default(),
            detail: at(body, &["detail"])?,
        })
    };
    if of_bridge(body) {
        return bridge(body);
    }
    let data = at(body, &["data"]).filter(|_| at(body, &["specversion"]).is_some())?;
    if of_bridge(data) {
        return bridge(data);
    }
    // The same fields as attributes: source and type are those of EventBridge, data is its detail.
    let source = text(body, &["source"]).is_some_and(|source| SOURCES.contains(&source));
    source.then(|| Event {
        body,
        kind: text(body, &["type"]).unwrap_or_default(),
        detail: data,
    })
}

fn recognises(incoming: &Incoming<'_>) -> bool {
    event_in(incoming.body).is_some()
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    let told = event_in(incoming.body).ok_or_else(|| {
        Malformed("detail is missing; an event of EventBridge has source and detail".to_owned())
    })?;
    Ok(Reading {
        delivery_id: text(told.body, &["id"]).map(str::to_owned),
        content: event(incoming, &told)?,
    })
}

fn event(incoming: &Incoming<'_>, told: &Event<'_>) -> Result<Content, Malformed> {
    let (body, detail, kind) = (told.body, told.detail, told.kind);
    if kind != "ECR Image Action" {
        return Ok(Content::Ignored(match kind {
            "ECR Image Scan"
            | "ECR Scan Resource Change"
            | "Inspector2 Scan"
            | "Inspector2 Finding" => ReasonCode::Scan,
            "ECR Replication Action" => ReasonCode::Replication,
            "ECR Pull Through Cache Action" => ReasonCode::Mirror,
            _ => ReasonCode::EventType,
        }));
    }
    match text(detail, &["action-type"]) {
        Some("PUSH") => {}
        Some("DELETE") => return Ok(Content::Ignored(ReasonCode::Delete)),
        Some(_) => return Ok(Content::Ignored(ReasonCode::EventType)),
        None => return Err(Malformed("detail.action-type is missing".to_owned())),
    }
    if text(detail, &["result"]).is_some_and(|result| result != "SUCCESS") {
        return Ok(Content::Ignored(ReasonCode::FailedPush));
    }
    let media = ["artifact-media-type", "manifest-media-type"];
    if let Some(reason) = media
        .iter()
        .find_map(|field| text(detail, &[field]).and_then(artifact))
    {
        return Ok(Content::Ignored(reason));
    }
    let path = text(detail, &["repository-name"])
        .ok_or_else(|| Malformed("detail.repository-name is missing".to_owned()))?;
    let host = host(body);
    Ok(content(push(
        incoming,
        Told {
            host: host.as_deref(),
            path,
            field: "detail.repository-name",
            tag: text(detail, &["image-tag"]),
            digest: digest(detail, &["image-digest"]),
            actor: None,
            pushed_at: at(body, &["time"]).and_then(time),
        },
    )?))
}

/// The registry's host, made from account and region; China's regions have a domain of their own.
fn host(body: &Value) -> Option<String> {
    let account = text(body, &["account"])?;
    let region = text(body, &["region"])?;
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    Some(format!("{account}.dkr.ecr.{region}.amazonaws.com{end}"))
}
