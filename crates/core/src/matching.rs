//! Which policy decides about a pushed image.

use crate::versions::Rule;
use globset::GlobBuilder;
use windlass_types::image::Repository;
use windlass_types::policy::{Filters, Policy, TagRule};

/// Whether a rule takes a tag that is pushed. A rule that cannot be used takes nothing.
#[must_use]
pub fn tag_matches(rule: &TagRule, tag: &str) -> bool {
    Rule::new(rule).is_ok_and(|rule| rule.takes(tag))
}

/// Whether a glob takes a text: `*` stops at `/`, `**` does not. A pattern that is none takes nothing.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .is_ok_and(|glob| glob.compile_matcher().is_match(text))
}

/// Why no policy takes an image: the one that came nearest, and what it lacks. `Display` says it
/// in a sentence for the person who wonders why nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMatch {
    /// There are no policies.
    NoPolicies,
    /// A policy takes repository and tag, but is switched off.
    Disabled {
        /// Its name.
        policy: String,
    },
    /// A policy takes the repository, but not the tag.
    Tag {
        /// Its name.
        policy: String,
        /// The tags it takes.
        rule: TagRule,
        /// The tag that was pushed.
        tag: String,
    },
    /// No policy takes the repository.
    Repository {
        /// The name of the one whose pattern begins most like it.
        policy: String,
        /// Its pattern.
        pattern: String,
        /// The repository that was pushed.
        repository: Repository,
    },
}

impl std::fmt::Display for NoMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoPolicies => f.write_str("there are no policies"),
            Self::Disabled { policy } => {
                write!(f, "policy {policy:?} would take it, but is switched off")
            }
            Self::Tag { policy, rule, tag } => {
                write!(
                    f,
                    "policy {policy:?} takes the repository, but not the tag {tag:?}: its tags are "
                )?;
                write!(f, "{rule}")
            }
            Self::Repository {
                policy,
                pattern,
                repository,
            } => write!(
                f,
                "no policy takes {repository}; the nearest, {policy:?}, takes {pattern:?}"
            ),
        }
    }
}

/// The policy that is asked first about this repository and tag: see [`deciding`].
///
/// # Errors
/// [`NoMatch`] where none takes them, with the one that came nearest.
pub fn decide<'p>(
    policies: &'p [Policy],
    repository: &Repository,
    tag: &str,
) -> Result<&'p Policy, NoMatch> {
    let all = deciding(policies, repository, tag)?;
    all.first().copied().ok_or(NoMatch::NoPolicies)
}

/// The policies that decide about this repository and tag: the enabled ones that take both, those with a
/// higher priority first; the older one first on a tie. Each device is for the first of them whose
/// filters take it, so nothing comes after one that takes every device. The order in which they are
/// given makes no difference. Never empty.
///
/// # Errors
/// [`NoMatch`] where none takes them, with the one that came nearest.
pub fn deciding<'p>(
    policies: &'p [Policy],
    repository: &Repository,
    tag: &str,
) -> Result<Vec<&'p Policy>, NoMatch> {
    let name = repository.to_string();
    let mut ordered: Vec<&Policy> = policies.iter().collect();
    ordered.sort_by_key(|policy| {
        (
            std::cmp::Reverse(policy.spec.priority),
            policy.created_at,
            policy.id,
        )
    });
    let takes_repository = |policy: &&Policy| glob_matches(&policy.spec.image, &name);
    let takes_tag = |policy: &&Policy| tag_matches(&policy.spec.tag, tag);
    let (of_repository, others): (Vec<&Policy>, Vec<&Policy>) =
        ordered.into_iter().partition(takes_repository);
    let mut taking: Vec<&Policy> = Vec::new();
    for policy in &of_repository {
        if policy.spec.enabled && takes_tag(policy) {
            taking.push(policy);
            if policy.spec.filters == Filters::default() {
                break;
            }
        }
    }
    if !taking.is_empty() {
        return Ok(taking);
    }
    if let Some(off) = of_repository.iter().find(|p| takes_tag(p)) {
        return Err(NoMatch::Disabled {
            policy: off.spec.name.clone(),
        });
    }
    // One that is switched on is worth more to the person who reads this.
    let on_first = of_repository
        .iter()
        .find(|p| p.spec.enabled)
        .or(of_repository.first());
    if let Some(nearest) = on_first {
        return Err(NoMatch::Tag {
            policy: nearest.spec.name.clone(),
            rule: nearest.spec.tag.clone(),
            tag: tag.to_owned(),
        });
    }
    // `max_by_key` returns the last of equals, so asked in reverse it is the first.
    let nearest = others
        .iter()
        .rev()
        .max_by_key(|p| common_prefix(&p.spec.image, &name));
    Err(
        nearest.map_or(NoMatch::NoPolicies, |nearest| NoMatch::Repository {
            policy: nearest.spec.name.clone(),
            pattern: nearest.spec.image.clone(),
            repository: repository.clone(),
        }),
    )
}

fn common_prefix(one: &str, other: &str) -> usize {
    one.bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count()
}

#[cfg(test)]
mod tests;
