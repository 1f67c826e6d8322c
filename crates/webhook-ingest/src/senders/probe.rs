//! What must hold of every delivery, whoever wrote it: for the fuzzer in `fuzz/` and for the test that goes
//! through its corpus.

use super::{Content, SENDERS, named, read};
use serde_json::Value;
use std::collections::BTreeMap;
use windlass_types::image::{ImageReference, is_tag};

/// Headers that a fuzzed delivery may have: one set is chosen by its first byte.
const HEADERS: [&[(&str, &str)]; 8] = [
    &[],
    &[("x-github-event", "package"), ("x-github-delivery", "1")],
    &[("x-gitea-event", "package"), ("x-gitea-delivery", "1")],
    &[("x-forgejo-event", "package"), ("x-forgejo-delivery", "1")],
    &[("x-nexus-webhook-id", "rm:repository:component")],
    &[
        ("x-amz-sns-message-type", "Notification"),
        ("x-amz-sns-message-id", "1"),
    ],
    &[
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "aws.ecr"),
        ("ce-type", "harbor.artifact.pushed"),
    ],
    &[
        ("x-goog-pubsub-message-id", "1"),
        ("x-goog-pubsub-publish-time", "2026-03-01T12:00:00Z"),
    ],
];

/// Reads a delivery made of these bytes: the first chooses its headers, the second its sender (none is
/// told for bytes beyond the last), the rest is its body. Returns what does not hold.
#[must_use]
pub fn broken(input: &[u8]) -> Option<String> {
    let (choice, body) = input.split_at_checked(2)?;
    let [headers, sender] = choice else {
        return None;
    };
    let body: Value = serde_json::from_slice(body).ok()?;
    let headers: BTreeMap<String, String> = HEADERS
        .get(usize::from(*headers) % HEADERS.len())?
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let sender = SENDERS.get(usize::from(*sender) % (SENDERS.len() * 2));
    let registry = headers.is_empty().then_some("registry.example.com:5000");
    let Ok((sender, reading)) = read(&headers, &body, registry, sender) else {
        return None;
    };
    if named(sender.name).is_none() {
        return Some(format!("{} is no sender", sender.name));
    }
    let Content::Pushes(pushes) = reading.content else {
        return None;
    };
    if pushes.is_empty() {
        return Some("pushes without a push".to_owned());
    }
    // Memory is bounded by what was sent: each push takes some bytes of it.
    if pushes.len() > input.len() {
        return Some(format!("{} pushes of {} bytes", pushes.len(), input.len()));
    }
    for push in pushes {
        if !is_tag(&push.tag) {
            return Some(format!("{:?} is no tag", push.tag));
        }
        let text = format!("{}:{}", push.repository, push.tag);
        match text.parse::<ImageReference>() {
            Ok(again) if again.tag() == Some(push.tag.as_str()) => {}
            Ok(again) => return Some(format!("{text} is read back as {again}")),
            Err(error) => return Some(format!("{text} cannot be read back: {error}")),
        }
        if push.repository.to_string() != push.repository.to_string().to_ascii_lowercase() {
            return Some(format!("{text} is not in lower case"));
        }
        if push.actor.is_some_and(|actor| actor.len() > input.len()) {
            return Some("an actor out of nothing".to_owned());
        }
    }
    None
}
