//! Looking at registries: which repositories and tags, how often, and what is new in what is seen.
//!
//! The rules are in docs/adr/0019-registry-watch.md.

use crate::matching::glob_matches;
use crate::versions::Rule;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use windlass_types::image::{Digest, Repository, is_tag};
use windlass_types::policy::{Policy, TagRule};

/// Of the tags that a rule orders, so many of the newest are looked at for having moved: what is older
/// does not ship.
const NEWEST: usize = 10;

/// What makes a text a pattern.
const PATTERN: [char; 8] = ['*', '?', '[', ']', '{', '}', '\\', '!'];

/// The repositories to look at: of those in use what an enabled policy takes, and those that a policy
/// names without a pattern.
#[must_use]
pub fn wanted(policies: &[Policy], in_use: &BTreeSet<Repository>) -> BTreeSet<Repository> {
    let enabled = || policies.iter().filter(|policy| policy.spec.enabled);
    let named = enabled().filter_map(|policy| {
        let text = &policy.spec.image;
        (!text.contains(PATTERN)).then(|| text.parse().ok())?
    });
    in_use
        .iter()
        .filter(|repository| {
            let name = repository.to_string();
            enabled().any(|policy| glob_matches(&policy.spec.image, &name))
        })
        .cloned()
        .chain(named)
        .collect()
}

/// What enabled policies want of a repository's tags.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    rules: Vec<Rule>,
    fixed: BTreeSet<String>,
    /// Whether a list of its tags is needed.
    pub needs_list: bool,
}

impl Wishes {
    /// The wishes of the enabled policies that take a repository.
    #[must_use]
    pub fn of(policies: &[Policy], repository: &Repository) -> Self {
        let name = repository.to_string();
        let mut wishes = Self::default();
        let taking = policies
            .iter()
            .filter(|policy| policy.spec.enabled && glob_matches(&policy.spec.image, &name));
        for policy in taking {
            match &policy.spec.tag {
                TagRule::Fixed { tag } => {
                    wishes.fixed.insert(tag.clone());
                }
                TagRule::Glob { pattern } if !pattern.contains(PATTERN) => {
                    wishes.fixed.insert(pattern.clone());
                }
                rule => {
                    // A rule that cannot be used takes nothing; the API does not store one.
                    wishes.rules.extend(Rule::new(rule).ok());
                    wishes.needs_list = true;
                }
            }
        }
        wishes.fixed.retain(|tag| is_tag(tag));
        wishes
    }

    /// Whether any of them takes a tag.
    #[must_use]
    pub fn take(&self, tag: &str) -> bool {
        self.fixed.contains(tag) || self.rules.iter().any(|rule| rule.takes(tag))
    }

    /// The tags to ask for, the most important first: those that nobody has seen yet, those that
    /// devices run, those that a policy names, the newest of each rule with an order, then others; of
    /// those seen before at most `most`. Without a list of tags only what policies name is known.
    #[must_use]
    pub fn followed(
        &self,
        listed: &BTreeSet<String>,
        unseen: &BTreeSet<String>,
        running: &BTreeSet<String>,
        most: usize,
    ) -> Vec<String> {
        let mut ordered: Vec<&String> = unseen.iter().filter(|tag| self.take(tag)).collect();
        let first = ordered.len();
        let there = |tag: &&String| !self.needs_list || listed.contains(*tag);
        ordered.extend(running.iter().filter(there).filter(|tag| self.take(tag)));
        ordered.extend(self.fixed.iter().filter(there));
        for rule in &self.rules {
            ordered.extend(newest(rule, listed).into_iter().take(NEWEST));
        }
        ordered.extend(listed.iter().rev().filter(|tag| {
            self.rules
                .iter()
                .any(|rule| rule.takes(tag) && rule.key(tag).is_none())
        }));
        let mut seen = BTreeSet::new();
        ordered.retain(|tag| seen.insert(*tag));
        ordered.truncate(first.saturating_add(most));
        ordered.into_iter().cloned().collect()
    }

    /// The newest tag of each rule that orders tags: what would have shipped, had its push been heard.
    #[must_use]
    pub fn newest(&self, listed: &BTreeSet<String>) -> BTreeSet<String> {
        self.rules
            .iter()
            .filter_map(|rule| newest(rule, listed).first().copied().cloned())
            .collect()
    }
}

/// The tags that a rule takes and orders, the newest first.
fn newest<'t>(rule: &Rule, listed: &'t BTreeSet<String>) -> Vec<&'t String> {
    let mut keyed: Vec<_> = listed
        .iter()
        .filter(|tag| rule.takes(tag))
        .filter_map(|tag| Some((rule.key(tag)?, tag)))
        .collect();
    keyed.sort_by(|a, b| b.cmp(a));
    keyed.into_iter().map(|(_, tag)| tag).collect()
}

/// What is known of a tag when it is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before<'a> {
    /// Whether it was seen at its registry before, or seen not to be there.
    pub seen: bool,
    /// Whether it was not there when it was last looked for.
    pub gone: bool,
    /// What it named then; none where it was only listed.
    pub digest: Option<&'a Digest>,
    /// A digest that was doubtful when it was seen last.
    pub doubtful: Option<&'a Digest>,
    /// The version that pushes made of it, if any: its digest, where that is known.
    pub version: Option<Option<&'a Digest>>,
    /// Whether an earlier version of it has the digest that it names now.
    pub named_before: bool,
    /// Whether all tags of its repository had been listed before, so that one that was not seen is new.
    pub listed: bool,
}

/// What a tag's digest means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Nothing new.
    Same,
    /// What was there before anybody looked: written down, and nothing is made of it.
    Baseline,
    /// It names again what it named before. A registry that answers from a copy of yesterday says so
    /// too; it is believed when it says so twice.
    Doubtful,
    /// A new version: the first of its tag, or one that the tag has moved to.
    New {
        /// Whether the tag named another one before.
        moved: bool,
    },
}

/// What it means that a tag names this digest.
#[must_use]
pub fn sight(before: &Before<'_>, digest: &Digest) -> Sight {
    match before.version {
        // Its digest is being asked for by others.
        Some(None) => return Sight::Same,
        Some(Some(named)) if named == digest => return Sight::Same,
        Some(Some(_)) => {
            let again = before.named_before || before.digest == Some(digest);
            return if again && before.doubtful != Some(digest) {
                Sight::Doubtful
            } else {
                Sight::New { moved: true }
            };
        }
        None => {}
    }
    match before.digest {
        Some(named) if named == digest => Sight::Same,
        Some(_) => Sight::New { moved: true },
        None if before.gone => Sight::New { moved: false },
        None if before.seen || !before.listed => Sight::Baseline,
        None => Sight::New { moved: false },
    }
}

/// How often a repository is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Where no webhook came lately.
    pub alone: TimeDelta,
    /// Where webhooks come.
    pub with_webhooks: TimeDelta,
    /// How long ago the last webhook may be for that.
    pub lately: TimeDelta,
}

/// When a repository is looked at next. `jitter` (0 to 1000) takes up to a tenth of the time off, so that
/// what began together drifts apart.
#[must_use]
pub fn next_look(
    now: DateTime<Utc>,
    pace: &Pace,
    webhook_at: Option<DateTime<Utc>>,
    jitter: u16,
) -> DateTime<Utc> {
    let webhooks = webhook_at.is_some_and(|at| now.signed_duration_since(at) <= pace.lately);
    let interval = if webhooks {
        pace.with_webhooks
    } else {
        pace.alone
    };
    now + shortened(interval, jitter, 10)
}

/// When a repository is looked at again after so many looks in a row that came to nothing: doubled from
/// ten seconds up to its interval, never before the registry may be asked again.
#[must_use]
pub fn look_again(
    now: DateTime<Utc>,
    pace: &Pace,
    failures: i64,
    retry_after: Option<TimeDelta>,
    jitter: u16,
) -> DateTime<Utc> {
    let exponent = u32::try_from(failures.clamp(0, 12)).unwrap_or(12);
    let doubled = TimeDelta::seconds(10 * 2_i64.pow(exponent)).min(pace.alone);
    let wait = shortened(doubled, jitter, 2);
    // Replicas that were told the same time do not come back in the same moment.
    let asked = retry_after.map_or(TimeDelta::zero(), |wait| {
        wait + shortened(TimeDelta::seconds(5), 1000 - jitter.min(1000), 1)
    });
    now + wait.max(asked)
}

/// A time with up to a part of it (a tenth for 10) taken off, by so many thousandths of that part.
fn shortened(time: TimeDelta, jitter: u16, part: i32) -> TimeDelta {
    time - time / (1000 * part) * i32::from(jitter.min(1000))
}

#[cfg(test)]
mod tests;
