//! Versions in tags: which tags a rule takes, which of two is newer, and which of many ships.
//!
//! A rule reads a tag as a version of its own kind and compares only within that kind. What it cannot
//! read it neither takes nor puts above or below anything. docs/versions.md tells it to operators,
//! docs/adr/0020-versions.md says why.

mod calendar;
mod key;
mod loose;
mod pattern;
mod range;
mod rule;
mod select;

pub use key::Key;
pub use loose::is_downgrade;
pub use rule::{InvalidRule, Mismatch, Read, Rule};
pub use select::{Candidate, built_at, goes_below, old_enough_at, select};

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
