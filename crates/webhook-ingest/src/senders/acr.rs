//! Azure Container Registry: its own webhooks, and the same events through Event Grid in the schema of
//! Event Grid or as CloudEvents.
//!
//! Sources: <https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference>,
//! <https://learn.microsoft.com/azure/event-grid/event-schema-container-registry>,
//! <https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema>.

use super::fields::{Told, artifact, at, digest, push, text};
use super::times::time;
use super::{Content, Incoming, Malformed, Reading, Sender};
use serde_json::{Value, json};
use windlass_types::delivery::{ParsedPush, ReasonCode};

pub(super) const SENDER: Sender = Sender {
    name: "acr",
    recognises,
    read,
};

const GRID: &str = "Microsoft.ContainerRegistry.";
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
/// Event Grid's own news about a subscription, the question above among them.
const SUBSCRIPTION: &str = "Microsoft.EventGrid.Subscription";

fn recognises(incoming: &Incoming<'_>) -> bool {
    let of_grid = |event: &Value| {
        kind_of(event).is_some_and(|kind| kind.starts_with(GRID) || kind.starts_with(SUBSCRIPTION))
    };
    match incoming.body {
        Value::Array(events) => events.first().is_some_and(of_grid),
        body => of_grid(body) || is_own(incoming),
    }
}

/// Azure's own webhooks carry no header that names them.
fn is_own(incoming: &Incoming<'_>) -> bool {
    let body = incoming.body;
    let action = text(body, &["action"]);
    action.is_some()
        && at(body, &["id"]).is_some()
        && at(body, &["timestamp"]).is_some()
        && (action == Some("ping") || at(body, &["target"]).is_some_and(Value::is_object))
}

fn kind_of(event: &Value) -> Option<&str> {
    text(event, &["eventType"]).or_else(|| text(event, &["type"]))
}

fn read(incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
    let body = incoming.body;
    let events: Vec<&Value> = match body {
        Value::Array(events) => events.iter().collect(),
        one => vec![one],
    };
    let delivery_id = match events.as_slice() {
        [event] => text(event, &["id"]).map(str::to_owned),
        _ => None,
    };
    let mut pushes = Vec::new();
    let mut reason = ReasonCode::Empty;
    for event in events {
        if kind_of(event) == Some(VALIDATION) {
            let code = text(event, &["data", "validationCode"])
                .ok_or_else(|| Malformed("data.validationCode is missing".to_owned()))?;
            return Ok(Reading {
                delivery_id,
                content: Content::Handshake(json!({"validationResponse": code})),
            });
        }
        match one(incoming, event)? {
            Ok(push) => pushes.push(push),
            Err(why) => reason = why,
        }
    }
    Ok(Reading {
        delivery_id,
        content: if pushes.is_empty() {
            Content::Ignored(reason)
        } else {
            Content::Pushes(pushes)
        },
    })
}

fn one(
    incoming: &Incoming<'_>,
    event: &Value,
) -> Result<Result<ParsedPush, ReasonCode>, Malformed> {
    let (data, action) = match kind_of(event) {
        Some(kind) => {
            let data = at(event, &["data"]).unwrap_or(&Value::Null);
            let action = match kind.strip_prefix(GRID) {
                Some("ImagePushed") => "push",
                Some("ImageDeleted") => "delete",
                Some("ChartPushed") => "chart_push",
                Some("ChartDeleted") => "chart_delete",
                _ => return Ok(Err(ReasonCode::EventType)),
            };
            (data, action)
        }
        None => (
            event,
            text(event, &["action"]).ok_or_else(|| Malformed("action is missing".to_owned()))?,
        ),
    };
    match action {
        "push" => {}
        "ping" => return Ok(Err(ReasonCode::Ping)),
        "delete" | "chart_delete" => return Ok(Err(ReasonCode::Delete)),
        "chart_push" => return Ok(Err(ReasonCode::Chart)),
        _ => return Ok(Err(ReasonCode::EventType)),
    }
    if let Some(reason) = text(data, &["target", "mediaType"]).and_then(artifact) {
        return Ok(Err(reason));
    }
    let path = text(data, &["target", "repository"])
        .ok_or_else(|| Malformed("target.repository is missing".to_owned()))?;
    push(
        incoming,
        Told {
            host: text(data, &["request", "host"]),
            path,
            field: "target.repository",
            tag: text(data, &["target", "tag"]),
            digest: digest(data, &["target", "digest"]),
            actor: None,
            pushed_at: at(data, &["timestamp"]).and_then(time),
        },
    )
}
