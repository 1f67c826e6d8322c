//! The senders whose deliveries are understood: one file and one table of cases each.
//!
//! A new one is a file beside these, a line in [`SENDERS`] and a table in `cases/`; docs/webhooks.md
//! says how.

mod acr;
mod aliyun;
mod artifact_registry;
mod artifactory;
mod distribution;
mod docker_hub;
mod ecr;
pub(crate) mod envelope;
mod fields;
mod generic;
mod ghcr;
mod gitea;
mod harbor;
mod nexus;
pub mod probe;
mod quay;
mod times;

use serde_json::Value;
use std::collections::BTreeMap;
use windlass_types::delivery::{ParsedPush, ReasonCode};

/// Whether a tag is one that tools keep signatures and attestations under.
pub(crate) fn is_attachment(tag: &str) -> bool {
    fields::attachment(tag).is_some()
}

/// A delivery as a sender's parser sees it.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The headers that are kept, names in lower case.
    pub headers: &'a BTreeMap<String, String>,
    /// The body.
    pub body: &'a Value,
    /// The registry's host as the endpoint's configuration names it, where the sender names another
    /// or none.
    pub registry: Option<&'a str>,
}

impl Incoming<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The sender's own id for it, where it has one.
    pub delivery_id: Option<String>,
    /// What it tells of.
    pub content: Content,
}

/// What a delivery tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These pushes, at least one, in the order told.
    Pushes(Vec<ParsedPush>),
    /// No image push.
    Ignored(ReasonCode),
    /// The sender asks whether the endpoint is the right one, and wants this back.
    Handshake(Value),
}

/// Why a delivery cannot be read: what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// One kind of sender.
#[derive(Debug)]
pub struct Sender {
    /// Its name in configuration, answers and metrics.
    pub name: &'static str,
    /// Whether a delivery looks like its own.
    recognises: fn(&Incoming<'_>) -> bool,
    /// Reads a delivery of its own.
    read: fn(&Incoming<'_>) -> Result<Reading, Malformed>,
}

impl Sender {
    /// Reads a delivery.
    ///
    /// # Errors
    /// [`Malformed`] where it does not have the sender's shape.
    pub fn read(&self, incoming: &Incoming<'_>) -> Result<Reading, Malformed> {
        (self.read)(incoming)
    }
}

/// Every sender. No delivery is recognised by two of them.
pub static SENDERS: &[Sender] = &[
    docker_hub::SENDER,
    ghcr::SENDER,
    distribution::SENDER,
    harbor::SENDER,
    quay::SENDER,
    acr::SENDER,
    ecr::SENDER,
    artifact_registry::SENDER,
    gitea::SENDER,
    artifactory::SENDER,
    nexus::SENDER,
    aliyun::SENDER,
    generic::SENDER,
];

/// The sender of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Sender> {
    SENDERS.iter().find(|sender| sender.name == name)
}

/// The sender that a delivery looks like.
#[must_use]
pub fn recognise(incoming: &Incoming<'_>) -> Option<&'static Sender> {
    SENDERS.iter().find(|sender| (sender.recognises)(incoming))
}

/// Reads a delivery as it was received: takes it out of what carries it, finds the sender where none is
/// given, and reads it.
///
/// # Errors
/// [`Malformed`] where no sender writes so; with the sender where there is one.
pub fn read(
    headers: &BTreeMap<String, String>,
    body: &Value,
    registry: Option<&str>,
    sender: Option<&'static Sender>,
) -> Result<(&'static Sender, Reading), (Option<&'static Sender>, Malformed)> {
    let opened = envelope::open(headers, body);
    let incoming = Incoming {
        headers,
        body: &opened,
        registry,
    };
    let sender = sender.or_else(|| recognise(&incoming)).ok_or_else(|| {
        let names = names();
        let text = format!(
            "this looks like a delivery of none of {names}; set the endpoint's sender if it is one"
        );
        (None, Malformed(text))
    })?;
    let mut reading = sender
        .read(&incoming)
        .map_err(|error| (Some(sender), error))?;
    if reading.delivery_id.is_none() {
        reading.delivery_id = envelope::delivery_id(headers, body).map(str::to_owned);
    }
    Ok((sender, reading))
}

/// Whether images can be named by this registry's host.
#[must_use]
pub fn is_host(registry: &str) -> bool {
    fields::repository(registry, "any/name").is_ok()
}

/// The names of all senders, for people.
#[must_use]
pub fn names() -> String {
    let names: Vec<_> = SENDERS.iter().map(|sender| sender.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
