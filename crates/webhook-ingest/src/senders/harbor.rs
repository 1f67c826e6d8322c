//! Harbor's webhooks, in its own format and as CloudEvents. One delivery tells of one artifact under
//! all the tags it was pushed with.
//!
//! Source: <https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks>.

use super::fields::{Told, at, digest, parts, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use serde_json::Value;
use windlass_types::delivery::ReasonCode;

pub(super) const SENDER: Sender = Sender {
    name: "harbor",
    recognises,
    read,
};

fn recognises(incoming: &Incoming<'_>) -> bool {
    let own =
        at(incoming.body, &["event_data"]).is_some() && at(incoming.body, &["occur_at"]).is_some();
    let cloud = text(incoming.body, &["type"]).is_some_and(|kind| kind.starts_with("harbor."));
    own || cloud
}

/// The parts of a delivery that both formats have.
struct Event<'a> {
    kind: &'a str,
    data: &'a Value,
    at: &'a Value,
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    let body = incoming.body;
    let kind = text(body, &["type"]).ok_or_else(|| Malformed("type is missing".to_owned()))?;
    let cloud = kind.starts_with("harbor.");
    let told = Event {
        kind,
        data: at(body, &[if cloud { "data" } else { "event_data" }]).unwrap_or(&Value::Null),
        at: at(body, &[if cloud { "time" } else { "occur_at" }]).unwrap_or(&Value::Null),
    };
    Ok(Reading {
        // Of CloudEvents alone; source and id together are unique there.
        delivery_id: text(body, &["id"])
            .filter(|_| cloud)
            .map(|id| format!("{} {id}", text(body, &["source"]).unwrap_or_default())),
        content: content(incoming, &told)?,
    })
}

fn content(incoming: &Incoming<'_>, told: &Event<'_>) -> Result<Content, Malformed> {
    let kind = told.kind.to_ascii_lowercase();
    match kind.as_str() {
        "push_artifact" | "harbor.artifact.pushed" => {}
        "pull_artifact" | "harbor.artifact.pulled" => return ignored(ReasonCode::Pull),
        "delete_artifact"
        | "harbor.artifact.deleted"
        | "tag_retention"
        | "harbor.tag_retention.finished" => {
            return ignored(ReasonCode::Delete);
        }
        other => {
            return ignored(if other.contains("scan") {
                ReasonCode::Scan
            } else if other.contains("quota") {
                ReasonCode::Quota
            } else if other.contains("replication") {
                ReasonCode::Replication
            } else if other.contains("chart") {
                ReasonCode::Chart
            } else {
                ReasonCode::EventType
            });
        }
    }
    let resources = at(told.data, &["resources"])
        .and_then(Value::as_array)
        .ok_or_else(|| Malformed("event_data.resources is missing".to_owned()))?;
    let path = text(told.data, &["repository", "repo_full_name"]);
    let mut pushes = Vec::new();
    let mut reasons = Vec::new();
    for resource in resources {
        let url = text(resource, &["resource_url"]).and_then(parts);
        let path = path.or(url.map(|url| url.path)).ok_or_else(|| {
            Malformed("event_data.repository.repo_full_name is missing".to_owned())
        })?;
        match push(
            incoming,
            Told {
                host: url.map(|url| url.host),
                path,
                field: "event_data.repository.repo_full_name",
                tag: text(resource, &["tag"]),
                digest: digest(resource, &["digest"]),
                actor: text(incoming.body, &["operator"]),
                pushed_at: time(told.at),
            },
        )? {
            Ok(one) => pushes.push(one),
            Err(reason) => reasons.push(reason),
        }
    }
    Ok(match (pushes.is_empty(), reasons.first()) {
        (false, _) => Content::Pushes(pushes),
        (true, Some(reason)) => Content::Ignored(*reason),
        (true, None) => Content::Ignored(ReasonCode::Empty),
    })
}

const fn ignored(reason: ReasonCode) -> Result<Content, Malformed> {
    Ok(Content::Ignored(reason))
}
