//! Sonatype Nexus Repository's webhooks about components and assets. It names no registry: where its
//! Docker connector listens is the endpoint's `registry`.
//!
//! Source: <https://help.sonatype.com/en/webhooks.html>.

use super::fields::{Told, at, content, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use windlass_types::delivery::ReasonCode;

pub(super) const SENDER: Sender = Sender {
    name: "nexus",
    recognises,
    read,
};

const KIND: &str = "x-nexus-webhook-id";

fn recognises(incoming: &Incoming<'_>) -> bool {
    incoming.header(KIND).is_some()
        || (at(incoming.body, &["nodeId"]).is_some()
            && at(incoming.body, &["repositoryName"]).is_some())
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    Ok(Reading {
        delivery_id: incoming
            .header("x-nexus-webhook-delivery")
            .map(str::to_owned),
        content: event(incoming)?,
    })
}

fn event(incoming: &Incoming<'_>) -> Result<Content, Malformed> {
    let body = incoming.body;
    let Some(component) = at(body, &["component"]).filter(|component| component.is_object()) else {
        // Of a push the assets are told too: layers and manifests, each on its own.
        return Ok(Content::Ignored(if at(body, &["asset"]).is_some() {
            ReasonCode::Blob
        } else {
            ReasonCode::EventType
        }));
    };
    if text(component, &["format"]) != Some("docker") {
        return Ok(Content::Ignored(ReasonCode::PackageType));
    }
    match text(body, &["action"]) {
        Some("CREATED" | "UPDATED") => {}
        Some("DELETED" | "PURGED") => return Ok(Content::Ignored(ReasonCode::Delete)),
        Some(_) => return Ok(Content::Ignored(ReasonCode::EventType)),
        None => return Err(Malformed("action is missing".to_owned())),
    }
    let path = text(component, &["name"])
        .ok_or_else(|| Malformed("component.name is missing".to_owned()))?;
    Ok(content(push(
        incoming,
        Told {
            path,
            field: "component.name",
            tag: text(component, &["version"]),
            // `admin/192.0.2.1`.
            actor: text(body, &["initiator"]).and_then(|who| who.split('/').next()),
            pushed_at: at(body, &["timestamp"]).and_then(time),
            ..Told::default()
        },
    )?))
}
