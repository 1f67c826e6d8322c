//! Which of many versions ships.

use super::loose::is_downgrade;
use super::{Key, Rule};
use crate::push::CLOCKS_APART;
use chrono::{DateTime, TimeDelta, Utc};
use std::cmp::Ordering;
use windlass_types::ids::ImageVersionId;

/// 2013-03-01 in seconds: before that there were no container images. A build that is to be
/// reproducible writes 1970 or 1980 into them.
const FIRST_IMAGES: i64 = 1_362_096_000;

/// When an image was built, for comparing: the time in its configuration where that can be true (not
/// before there were images, not after it was seen), else when it was seen first.
#[must_use]
pub fn built_at(created: Option<DateTime<Utc>>, first_seen: DateTime<Utc>) -> DateTime<Utc> {
    created
        .filter(|at| {
            at.timestamp() >= FIRST_IMAGES && at.signed_duration_since(first_seen) <= CLOCKS_APART
        })
        .unwrap_or(first_seen)
}

/// When a version is old enough; none where it is.
#[must_use]
pub fn old_enough_at(
    first_seen: DateTime<Utc>,
    min_age_seconds: u32,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let at = first_seen.checked_add_signed(TimeDelta::seconds(i64::from(min_age_seconds)))?;
    (at > now).then_some(at)
}

/// A version that may be the one to ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: ImageVersionId,
    /// The tag.
    pub tag: String,
    /// When the tag was first seen to name it.
    pub first_seen: DateTime<Utc>,
    /// When it was built, for comparing: [`built_at`].
    pub built_at: DateTime<Utc>,
    /// Whether anything keeps it from shipping: then it is as if it were not there.
    pub held_back: bool,
}

/// Where a candidate stands: a total order, the same whatever the order in which they are given. Of
/// equal versions the one seen later is above.
type Place<'c> = (
    Option<Key>,
    DateTime<Utc>,
    DateTime<Utc>,
    &'c str,
    ImageVersionId,
);

fn place<'c>(rule: &Rule, candidate: &'c Candidate) -> Place<'c> {
    let built = if rule.is_by_build_date() {
        candidate.built_at
    } else {
        DateTime::UNIX_EPOCH
    };
    (
        rule.key(&candidate.tag),
        built,
        candidate.first_seen,
        &candidate.tag,
        candidate.id,
    )
}

/// The candidate that ships: the newest that the rule takes and nothing holds back. None where there is
/// none, or where it is below one of the images that run, given as tag and time of building.
#[must_use]
pub fn select<'c>(
    rule: &Rule,
    candidates: &'c [Candidate],
    running: &[(&str, Option<DateTime<Utc>>)],
) -> Option<&'c Candidate> {
    let newest = candidates
        .iter()
        .filter(|candidate| !candidate.held_back && rule.takes(&candidate.tag))
        .max_by(|a, b| place(rule, a).cmp(&place(rule, b)))?;
    let below = running.iter().any(|(tag, built_at)| {
        goes_below(
            rule,
            (Some(tag), *built_at),
            (Some(&newest.tag), Some(newest.built_at)),
        )
    });
    (!below).then_some(newest)
}

/// Whether going from one image to another goes down, each given as its tag and the time at which it
/// was built ([`built_at`]), where known. By the order of the rule where it has one and can read both
/// tags; else as any two tags are compared. What cannot be read is above and below nothing.
#[must_use]
pub fn goes_below(
    rule: &Rule,
    present: (Option<&str>, Option<DateTime<Utc>>),
    next: (Option<&str>, Option<DateTime<Utc>>),
) -> bool {
    if rule.is_by_build_date() {
        return match (present.1, next.1) {
            (Some(now), Some(then)) => then < now,
            _ => false,
        };
    }
    let key = |tag: Option<&str>| tag.and_then(|tag| rule.key(tag));
    match (key(present.0), key(next.0)) {
        (Some(now), Some(then)) => then.cmp(&now) == Ordering::Less,
        _ => is_downgrade(present.0, next.0),
    }
}
