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
    let mut by: BTreeMap<String, &str> = BTreeMap::new();
    for (taken, image) in &held {
        let problem = match asked(&taken.asks, image) {
            Err(reason) => Some(reason),
            Ok(Asked::Policy(name)) => of_a_person(&name, image, known),
            Ok(Asked::Own(spec)) => match wishes.policies.get(&spec.name) {
                Some(other) if *other != *spec => by.get(&spec.name).map(|first| {
                    format!("it asks for something else than {first}, which has the same image: {first} decides")
                }),
                Some(_) => None,
                None => too_far(&spec, taken, &held).or_else(|| {
                    by.insert(spec.name.clone(), &taken.name);
                    wishes.policies.insert(spec.name.clone(), *spec);
                    None
                }),
            },
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

/// Why a range of versions is not followed: it would move another container that did not ask for it.
fn too_far(spec: &PolicySpec, taken: &Taken, held: &[(&Taken, ImageReference)]) -> Option<String> {
    if !matches!(spec.tag, TagRule::Semver { .. }) {
        return None;
    }
    let rule = Rule::new(&spec.tag).ok()?;
    let moved = held.iter().find(|(other, image)| {
        image.repository().to_string() == spec.image
            && other.name != taken.name
            && image.tag().is_some_and(|tag| rule.moves(tag))
            && !matches!(asked(&other.asks, image), Ok(Asked::Own(own)) if own.tag == spec.tag)
    });
    moved.map(|(other, _)| {
        format!(
            "windlass.versions would move {} as well, which has the same image: give both the same label",
            other.name
        )
    })
}

#[cfg(test)]
mod tests;
