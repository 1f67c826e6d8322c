//! Amazon's Elastic Container Registry, by EventBridge: an API destination sends the event as it is.
//!
//! Source: <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html>.

use super::fields::{Told, artifact, at, content, digest, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use windlass_types::delivery::ReasonCode;

pub(super) const SENDER: Sender = Sender {
    name: "ecr",
    recognises,
    read,
};

fn recognises(incoming: &Incoming<'_>) -> bool {
    matches!(
        text(incoming.body, &["source"]),
        Some("aws.ecr" | "aws.inspector2")
    ) && at(incoming.body, &["detail"]).is_some()
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    Ok(Reading {
        delivery_id: text(incoming.body, &["id"]).map(str::to_owned),
        content: event(incoming)?,
    })
}

fn event(incoming: &Incoming<'_>) -> Result<Content, Malformed> {
    let body = incoming.body;
    let kind = text(body, &["detail-type"]).unwrap_or_default();
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
    match text(body, &["detail", "action-type"]) {
        Some("PUSH") => {}
        Some("DELETE") => return Ok(Content::Ignored(ReasonCode::Delete)),
        Some(_) => return Ok(Content::Ignored(ReasonCode::EventType)),
        None => return Err(Malformed("detail.action-type is missing".to_owned())),
    }
    if text(body, &["detail", "result"]).is_some_and(|result| result != "SUCCESS") {
        return Ok(Content::Ignored(ReasonCode::FailedPush));
    }
    let media = ["artifact-media-type", "manifest-media-type"];
    if let Some(reason) = media
        .iter()
        .find_map(|field| text(body, &["detail", field]).and_then(artifact))
    {
        return Ok(Content::Ignored(reason));
    }
    let path = text(body, &["detail", "repository-name"])
        .ok_or_else(|| Malformed("detail.repository-name is missing".to_owned()))?;
    let host = host(incoming);
    Ok(content(push(
        incoming,
        Told {
            host: host.as_deref(),
            path,
            field: "detail.repository-name",
            tag: text(body, &["detail", "image-tag"]),
            digest: digest(body, &["detail", "image-digest"]),
            actor: None,
            pushed_at: at(body, &["time"]).and_then(time),
        },
    )?))
}

/// The registry's host, made from account and region; China's regions have a domain of their own.
fn host(incoming: &Incoming<'_>) -> Option<String> {
    let account = text(incoming.body, &["account"])?;
    let region = text(incoming.body, &["region"])?;
    let end = if region.starts_with("cn-") { ".cn" } else { "" };
    Some(format!("{account}.dkr.ecr.{region}.amazonaws.com{end}"))
}
