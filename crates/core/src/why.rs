//! Why a device, a rollout or an image moved or did not, in the order in which the rules decide.
//!
//! Each reason is a value of a closed enum with its data; code, sentence, the time at which it changes
//! and what a person has to do about it follow from that alone. docs/why.md is made from the codes.

mod device;
mod examples;
mod image;
mod nearest;
mod place;
mod rollout;
mod text;

pub use device::{DeviceReason, device};
pub use examples::examples;
pub use image::{ImageReason, image};
pub use rollout::{RolloutReason, rollout};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use windlass_types::why::facts::{self, DeviceStory, RolloutStory};
use windlass_types::why::{WhyCode, WhyKind, WhyReason};

/// What can be told to a person.
pub trait Reason: Serialize {
    /// For programs.
    fn code(&self) -> WhyCode;
    /// What part it plays.
    fn kind(&self) -> WhyKind;
    /// For people.
    fn sentence(&self) -> String;
    /// When it changes by itself, where that is known.
    fn changes_at(&self) -> Option<DateTime<Utc>>;
    /// What a person has to do, where it does not change by itself.
    fn needs(&self) -> Option<&'static str>;
}

/// A reason and since when it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Since<R> {
    /// The reason.
    pub reason: R,
    /// Since when, where that is known.
    pub since: Option<DateTime<Utc>>,
}

impl<R: Reason> Since<R> {
    /// A reason that holds since then.
    pub const fn new(reason: R, since: Option<DateTime<Utc>>) -> Self {
        Self { reason, since }
    }

    /// The reason as the API shows it.
    pub fn told(&self) -> WhyReason {
        WhyReason {
            code: self.reason.code(),
            kind: self.reason.kind(),
            sentence: self.reason.sentence(),
            since: self.since,
            changes_at: self.reason.changes_at(),
            needs: self.reason.needs().map(str::to_owned),
            details: details(&self.reason),
        }
    }
}

/// The fields of a reason, without the name of its variant, which its code tells.
fn details(reason: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(reason).unwrap_or_default();
    // A reason that another carries stands one level deeper.
    for _ in 0..2 {
        let inner = match &mut value {
            Value::Object(fields) if fields.len() == 1 => fields
                .iter_mut()
                .next()
                .filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_uppercase()))
                .map(|(_, inner)| inner.take()),
            _ => None,
        };
        match inner {
            Some(inner) => value = inner,
            None => break,
        }
    }
    if value.is_object() {
        value
    } else {
        Value::Object(serde_json::Map::new())
    }
}

/// Reasons as the API shows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Each in a sentence.
    pub sentences: Vec<String>,
    /// The same for programs.
    pub reasons: Vec<WhyReason>,
    /// The first of them that is waited for.
    pub waiting_for: Option<WhyReason>,
}

impl Answer {
    /// What these reasons come to.
    #[must_use]
    pub fn of<R: Reason>(found: &[Since<R>]) -> Self {
        let reasons: Vec<WhyReason> = found.iter().map(Since::told).collect();
        let waits = |reason: &&WhyReason| reason.kind == WhyKind::Waits;
        Self {
            sentences: reasons.iter().map(|one| one.sentence.clone()).collect(),
            waiting_for: reasons.iter().find(waits).cloned(),
            reasons,
        }
    }
}

/// The reasons of one of a device's places, in the order in which they decide.
#[must_use]
pub fn place(
    story: &DeviceStory,
    place: &facts::Place,
    now: DateTime<Utc>,
) -> Vec<Since<DeviceReason>> {
    place::reasons(story, place, now)
}

/// What a rollout waits for, in a sentence; none once it has ended.
#[must_use]
pub fn waits(story: &RolloutStory, now: DateTime<Utc>) -> Option<String> {
    Answer::of(&rollout(story, now))
        .waiting_for
        .map(|reason| reason.sentence)
}

#[cfg(test)]
mod tests;
