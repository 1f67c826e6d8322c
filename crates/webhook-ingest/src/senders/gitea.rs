//! Package events of Gitea and Forgejo.
//!
//! Sources: <https://docs.gitea.com/usage/webhooks>, <https://forgejo.org/docs/latest/user/webhooks/>.

use super::fields::{Told, at, content, host_of, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use serde_json::Value;
use windlass_types::delivery::ReasonCode;

pub(super) const SENDER: Sender = Sender {
    name: "gitea",
    recognises,
    read,
};

/// Forgejo sends Gitea's headers too; both also send GitHub's, which therefore says nothing.
const EVENT: [&str; 2] = ["x-forgejo-event", "x-gitea-event"];
const DELIVERY: [&str; 2] = ["x-forgejo-delivery", "x-gitea-delivery"];

fn first<'a>(incoming: &'a Incoming<'_>, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| incoming.header(name))
}

fn recognises(incoming: &Incoming<'_>) -> bool {
    first(incoming, &EVENT).is_some()
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    Ok(Reading {
        delivery_id: first(incoming, &DELIVERY).map(str::to_owned),
        content: event(incoming)?,
    })
}

fn event(incoming: &Incoming<'_>) -> Result<Content, Malformed> {
    let body = incoming.body;
    if first(incoming, &EVENT).is_some_and(|event| event != "package") {
        return Ok(Content::Ignored(ReasonCode::EventType));
    }
    let package = at(body, &["package"])
        .filter(|package| package.is_object())
        .ok_or_else(|| {
            Malformed("package is missing; package events of Gitea and Forgejo have one".to_owned())
        })?;
    match text(body, &["action"]) {
        Some("created") => {}
        Some("deleted") => return Ok(Content::Ignored(ReasonCode::Delete)),
        Some(_) => return Ok(Content::Ignored(ReasonCode::EventType)),
        None => return Err(Malformed("action is missing".to_owned())),
    }
    if text(package, &["type"]) != Some("container") {
        return Ok(Content::Ignored(ReasonCode::PackageType));
    }
    let name =
        text(package, &["name"]).ok_or_else(|| Malformed("package.name is missing".to_owned()))?;
    let owner =
        owner(package).ok_or_else(|| Malformed("package.owner.login is missing".to_owned()))?;
    Ok(content(push(
        incoming,
        Told {
            host: text(package, &["html_url"]).and_then(host_of),
            path: &format!("{owner}/{name}"),
            field: "package.name",
            tag: text(package, &["version"]),
            digest: None,
            actor: text(body, &["sender", "login"])
                .or_else(|| text(package, &["creator", "login"])),
            pushed_at: at(package, &["created_at"]).and_then(time),
        },
    )?))
}

fn owner(package: &Value) -> Option<&str> {
    text(package, &["owner", "login"]).or_else(|| text(package, &["owner", "username"]))
}
