//! Taking a delivery out of what carries it: a message of Amazon SNS, a CloudEvent whose attributes are
//! headers. What is inside is recognised and read as if it had come alone.
//!
//! Sources: <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>,
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.

use super::fields::{at, text};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The attributes of a CloudEvent in binary mode that are looked at.
const ATTRIBUTES: [&str; 6] = ["id", "source", "specversion", "subject", "time", "type"];

/// Whether a body is a message of SNS of any kind.
pub(crate) fn is_sns(body: &Value) -> bool {
    text(body, &["Type"]).is_some()
        && text(body, &["TopicArn"]).is_some()
        && text(body, &["MessageId"]).is_some()
}

/// What a delivery carries: itself where nothing carries it. A carrier inside a carrier is not opened.
pub(super) fn open<'a>(headers: &BTreeMap<String, String>, body: &'a Value) -> Cow<'a, Value> {
    if is_sns(body) && text(body, &["Type"]) == Some("Notification") {
        let inner = text(body, &["Message"]).and_then(|inner| serde_json::from_str(inner).ok());
        // What is no JSON is nobody's delivery, and is refused as that.
        return inner.map_or(Cow::Borrowed(body), Cow::Owned);
    }
    if headers.contains_key("ce-specversion") && at(body, &["specversion"]).is_none() {
        let mut event = Map::new();
        for name in ATTRIBUTES {
            if let Some(value) = headers.get(&format!("ce-{name}")) {
                event.insert(name.to_owned(), Value::from(value.as_str()));
            }
        }
        event.insert("data".to_owned(), body.clone());
        return Cow::Owned(Value::Object(event));
    }
    Cow::Borrowed(body)
}

/// The carrier's own id for a delivery.
pub(super) fn delivery_id<'a>(
    headers: &'a BTreeMap<String, String>,
    body: &'a Value,
) -> Option<&'a str> {
    if is_sns(body) {
        return text(body, &["MessageId"]);
    }
    headers
        .get("x-amz-sns-message-id")
        .or_else(|| headers.get("x-goog-pubsub-message-id"))
        .map(String::as_str)
}
