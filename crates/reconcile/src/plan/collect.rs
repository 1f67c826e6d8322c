//! What is no service's any more: images that the agent pulled, networks that it made.

use super::image::goes_by;
use super::look::Look;
use super::turn::Rank;
use crate::observed::Image;
use crate::spec::ServiceSpec;
use crate::step::{Step, network_name};
use std::collections::BTreeSet;
use windlass_types::image::ImageReference;

/// The steps that make room; never for what is wanted, runs, or can be gone back to.
pub(super) fn steps(look: &Look<'_>) -> Vec<(Rank, Step)> {
    let mut steps = images(look);
    steps.extend(networks(look));
    steps.retain(|step| look.aside(&step.subject()).is_none());
    steps.into_iter().map(|step| (Rank::Clean, step)).collect()
}

/// Every spec that is wanted or was good last.
fn specs<'a>(look: &Look<'a>) -> impl Iterator<Item = (i64, &'a ServiceSpec)> {
    let wanted = look
        .wanted
        .services
        .iter()
        .map(|(key, spec)| (key.app, spec));
    let remembered = look.memory.services.iter();
    wanted.chain(remembered.filter_map(|(key, of)| Some((key.app, of.good.as_ref()?))))
}

fn images(look: &Look<'_>) -> Vec<Step> {
    let mut kept: BTreeSet<&str> = specs(look).map(|(_, spec)| spec.image.as_str()).collect();
    kept.extend(
        look.wanted
            .refused
            .values()
            .map(|refused| refused.image.as_str()),
    );
    kept.extend(look.observed.pulling.iter().map(String::as_str));
    let containers = &look.observed.containers;
    kept.extend(containers.iter().map(|c| c.image.as_str()));
    let in_use = containers.iter().map(|c| c.image_id.as_str());
    let in_use: BTreeSet<&str> = in_use
        .chain(look.observed.in_use.iter().map(String::as_str))
        .collect();
    let ours: Vec<&str> = look
        .memory
        .pulled
        .iter()
        .map(String::as_str)
        .filter(|name| !kept.contains(name))
        .collect();
    let mut steps = Vec::new();
    let mut there: BTreeSet<&str> = BTreeSet::new();
    for image in &look.observed.images {
        let names = ours.iter().copied().filter(|name| goes_by(image, name));
        let before = there.len();
        there.extend(names);
        let is_ours = there.len() > before || ours.iter().any(|name| goes_by(image, name));
        let is_kept = is_tagged(&look.memory.pulled, image)
            || in_use.contains(image.id.as_str())
            || is_ours && kept.iter().any(|name| goes_by(image, name));
        if is_ours && !is_kept {
            steps.push(Step::RemoveImage {
                id: image.id.clone(),
            });
        }
    }
    steps.sort_by_key(Step::subject);
    let gone = ours.into_iter().filter(|name| !there.contains(name));
    steps.extend(gone.map(|name| Step::ForgetImage {
        image: name.to_owned(),
    }));
    steps
}

/// Whether an image that the agent pulled by its digest is what a tag of the same repository names here: whoever starts
/// something by that tag gets it, and without the digest nobody could tell what it is.
fn is_tagged(pulled: &BTreeSet<String>, image: &Image) -> bool {
    let read = |name: &String| name.parse::<ImageReference>().ok();
    let by_digest: Vec<ImageReference> = pulled
        .iter()
        .filter(|name| goes_by(image, name))
        .filter_map(read)
        .filter(|name| name.digest().is_some())
        .collect();
    let names = image
        .names
        .iter()
        .filter_map(|name| Some((name, read(name)?)));
    let mut tags = names.filter(|(_, has)| has.digest().is_none());
    tags.any(|(_, has)| {
        let own = |pulled: &ImageReference| {
            pulled.digest().is_none()
                && pulled.repository() == has.repository()
                && pulled.tag().unwrap_or("latest") == has.tag().unwrap_or("latest")
        };
        let same = |ours: &ImageReference| ours.repository() == has.repository();
        by_digest.iter().any(same) && !pulled.iter().filter_map(read).any(|name| own(&name))
    })
}

fn networks(look: &Look<'_>) -> Vec<Step> {
    let prefix = &look.settings.prefix;
    let needed: BTreeSet<String> = specs(look)
        .flat_map(|(app, spec)| {
            let networks = spec.container.networks.keys();
            networks.map(move |network| network_name(prefix, app, network))
        })
        .collect();
    // What a refused service needs is not known, nor what a container needs whose spec is not.
    let mut unknown: BTreeSet<i64> = look.wanted.refused.keys().map(|key| key.app).collect();
    for container in &look.observed.containers {
        if look.spec_of(container).is_none() {
            unknown.insert(container.service.app);
        }
    }
    let there = look.observed.networks.iter();
    there
        .filter(|(name, app)| !needed.contains(*name) && !unknown.contains(app))
        .map(|(name, _)| Step::RemoveNetwork { name: name.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pulled_by_its_digest_stays_while_a_tag_that_somebody_gave_names_it() {
        let digest = format!("r/app@sha256:{}", "a".repeat(64));
        let pulled = format!("r/app:1@sha256:{}", "a".repeat(64));
        let image = |tags: &[&str]| Image {
            id: "sha256:1".to_owned(),
            names: tags
                .iter()
                .map(|tag| (*tag).to_owned())
                .chain([digest.clone()])
                .collect(),
            bytes: 1,
        };
        for (tags, ours, kept) in [
            (&["r/app:1"][..], &[&*pulled][..], true),
            (&["r/app:other"], &[&pulled], true),
            (&[], &[&pulled], false),
            // Another repository's, or the name by which it was pulled itself.
            (&["r/other:1"], &[&pulled], false),
            (&["r/app:1"], &[&pulled, "r/app:1"], false),
            (&["r/app:1"], &["r/app:1"], false),
        ] {
            let ours = ours.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(is_tagged(&ours, &image(tags)), kept, "{tags:?} {ours:?}");
        }
    }
}
