//! Which services of a device a verdict is about.

use super::Wanted;
use crate::image_match::{Match, compare};
use crate::target::services_of;
use windlass_types::image::{Digest, ImageReference, Repository};
use windlass_types::policy::TagRule;
use windlass_types::target::TargetState;

/// What a rollout ships, and to which services.
#[derive(Debug, Clone, Copy)]
pub struct Shipped<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// Which services of the repository.
    pub tag_rule: &'a TagRule,
    /// The tag.
    pub tag: Option<&'a str>,
    /// The digest.
    pub digest: Option<&'a Digest>,
}

/// The services that the rollout moved and that still have its image in the present target. Empty
/// where somebody has given the device another image since: then there is nothing to judge.
#[must_use]
pub fn wanted_of(
    present: &TargetState,
    before: Option<&TargetState>,
    shipped: Shipped<'_>,
) -> Vec<Wanted> {
    let moved: Option<Vec<(i64, i64)>> = before.map(|before| {
        services_of(before, shipped.repository, shipped.tag_rule)
            .iter()
            .map(|s| (s.app_id, s.service_id))
            .collect()
    });
    let mut wanted: Vec<Wanted> = present
        .services()
        .filter(|(app_id, service)| {
            moved
                .as_ref()
                .is_none_or(|moved| moved.contains(&(*app_id, service.service_id)))
        })
        .filter(|(_, service)| {
            service
                .image_name
                .parse::<ImageReference>()
                .is_ok_and(|image| {
                    let expected = image.with_version(shipped.tag, shipped.digest).to_string();
                    image.repository() == shipped.repository
                        && compare(&expected, &service.image_name, None) == Match::Wanted
                })
        })
        .map(|(app_id, service)| Wanted {
            app_id,
            service_id: service.service_id,
            image: service.image_name.clone(),
            runs: service.state.as_deref() != Some("stopped"),
        })
        .collect();
    wanted.sort();
    wanted
}
