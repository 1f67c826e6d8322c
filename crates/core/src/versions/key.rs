//! What versions are compared by.

use semver::Version;
use std::cmp::Ordering;

/// What a version is compared by. Those of one rule are all of one kind; the order of the kinds among
/// each other is of no meaning, and is there so that the order is total.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A semantic version, without what comes after `+`.
    Semver(Version),
    /// Numbers, the first counting most.
    Numbers(Vec<Number>),
    /// A text, byte by byte.
    Text(String),
}

/// A whole number of any length, as its digits without leading zeros; 0 is no digit at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(String);

impl Number {
    /// Of a text of digits alone, at least one.
    pub(super) fn read(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Self(text.trim_start_matches('0').to_owned()))
    }

    /// Of a number.
    pub(super) fn of(value: u32) -> Self {
        Self(value.to_string().trim_start_matches('0').to_owned())
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        // Without leading zeros the longer one is the higher one.
        (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0))
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A number, or several with dots between them.
pub(super) fn numbers(text: &str) -> Option<Key> {
    let parts: Option<Vec<Number>> = text.split('.').map(Number::read).collect();
    parts.map(Key::Numbers)
}
