//! The policies that there are to be, for what is held.

use super::asks::{Asked, asked};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use windlass_agent::taking::{Book, Taken};
use windlass_core::matching::glob_matches;
use windlass_core::versions::Rule;
use windlass_types::image::ImageReference;
use windlass_types::policy::{Policy, PolicySpec, TagRule};

/// What the names of policies begin with that are made here.
const PREFIX: &str = "local/";
/// Letters of a policy's name at most.
const LONGEST: usize = 128;

/// The policies that there are to be, and what is wrong with what was asked for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wishes {
    pub(super) policies: BTreeMap<String, PolicySpec>,
    pub(super) said: Vec<String>,
}

/// The name of the policy for an image and what is followed of it.
pub(super) fn name(repository: &str, which: &str) -> String {
    let name = format!("{PREFIX}{repository}:{which}");
    if name.len() <= LONGEST {
        return name;
    }
    let mut short = String::from(PREFIX);
    for byte in Sha256::digest(name.as_bytes()) {
        short.push_str(&format!("{byte:02x}"));
    }
    short
}

/// Whether a policy is one that was made here: by its name, and by what only such ones have.
pub(super) fn is_ours(spec: &PolicySpec) -> bool {
    spec.name.starts_with(PREFIX)
        && spec.priority == i32::MIN
        && spec
            .filters
            .fleets
            .iter()
            .all(|fleet| fleet.as_str() == super::FLEET)
        && spec.filters.fleets.len() == 1
}

/// What is wished for what is held, where there are these policies.
pub(super) fn of(book: &Book, known: &[Policy]) -> Wishes {
    let mut wishes = Wishes::default();
    let held: Vec<(&Taken, ImageReference)> = book
        .values()
        .filter_map(|taken| Some((taken, taken.image.parse().ok()?)))
        .collect();
    for (taken, image) in &held {
        let problem = match asked(&taken.asks, image) {
            Err(reason) => Some(reason),
            Ok(Asked::Policy(name)) => of_a_person(&name, image, known),
            Ok(Asked::Own(spec)) => disagreement(&spec, &held).or_else(|| {
                wishes.policies.insert(spec.name.clone(), *spec);
                None
            }),
        };
        let said = problem.map(|problem| format!("{}: {problem}", taken.name));
        wishes.said.extend(said);
    }
    wishes
}

/// Why a policy that a person wrote does not update an image.
fn of_a_person(name: &str, image: &ImageReference, known: &[Policy]) -> Option<String> {
    let policy = known.iter().find(|policy| policy.spec.name == name);
    let repository = image.repository().to_string();
    match policy {
        None => Some(format!(
            "windlass.policy: there is no policy {name:?}, so nothing updates it; `windlass policies` lists them"
        )),
        Some(policy) if !glob_matches(&policy.spec.image, &repository) => Some(format!(
            "windlass.policy: {name:?} takes {}, not {repository}, so nothing updates it",
            policy.spec.image
        )),
        Some(policy) if !policy.spec.enabled => {
            Some(format!("windlass.policy: {name:?} is switched off"))
        }
        Some(_) => None,
    }
}

/// Why there is no policy as one container asks for: a rollout moves every container that the policy takes, and one of
/// them asks for something else. Nobody is updated against its own labels, so this holds for all who ask for the policy.
fn disagreement(spec: &PolicySpec, held: &[(&Taken, ImageReference)]) -> Option<String> {
    let rule = Rule::new(&spec.tag).ok()?;
    let moved = held.iter().find(|(other, image)| {
        image.repository().to_string() == spec.image
            && rule.moves(image.tag().unwrap_or("latest"))
            && asked(&other.asks, image) != Ok(Asked::Own(Box::new(spec.clone())))
    });
    moved.map(|(other, _)| {
        let other = other.name.as_str();
        match &spec.tag {
            TagRule::Semver { .. } => format!(
                "windlass.versions would move {other} as well, which has the same image and asks for something else, \
                 so no policy is made for it: give both the same labels"
            ),
            _ => format!(
                "{other} has the same image and tag and asks for something else, so no policy is made for it: \
                 give both the same labels"
            ),
        }
    })
}

#[cfg(test)]
mod tests;
