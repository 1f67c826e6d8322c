//! Which policy comes nearest to a device, and what it lacks.

use crate::matching::{glob_matches, tag_matches};
use serde::Serialize;
use windlass_types::device::Device;
use windlass_types::image::ImageReference;
use windlass_types::policy::{Filters, Policy};

/// How the nearest policy stands to a device. Ordered: the later, the nearer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Fit {
    /// It takes another repository.
    Image {
        /// What it takes.
        pattern: String,
        /// What the device runs.
        repository: String,
    },
    /// It takes the repository, but not the tag that the device is on.
    Tag {
        /// The tag.
        tag: String,
    },
    /// It is for other fleets.
    Fleet {
        /// Which.
        fleets: Vec<String>,
    },
    /// It names its devices.
    Device,
    /// It is for devices with this tag.
    DeviceTag {
        /// The tag.
        key: String,
        /// Its value.
        value: String,
        /// What the device has instead.
        has: Option<String>,
    },
    /// It is switched off.
    Disabled,
    /// It takes the device.
    Whole,
}

/// The policy that comes nearest, by the services that a device is to run; none where there are no
/// policies, or the device is to run nothing.
pub(super) fn nearest<'p>(
    policies: &'p [Policy],
    device: &Device,
    images: &[String],
) -> Option<(&'p Policy, Fit)> {
    let mut best: Option<(&Policy, Fit, usize)> = None;
    let mut ordered: Vec<&Policy> = policies.iter().collect();
    ordered.sort_by_key(|p| (std::cmp::Reverse(p.spec.priority), p.created_at, p.id));
    for policy in ordered {
        for image in images {
            let Ok(image) = image.parse::<ImageReference>() else {
                continue;
            };
            let (fit, alike) = measure(policy, device, &image);
            let better = best.as_ref().is_none_or(|(_, known, known_alike)| {
                let (rank, known_rank) = (rank(&fit), rank(known));
                rank > known_rank || (rank == known_rank && alike > *known_alike)
            });
            if better {
                best = Some((policy, fit, alike));
            }
        }
    }
    best.map(|(policy, fit, _)| (policy, fit))
}

const fn rank(fit: &Fit) -> u8 {
    match fit {
        Fit::Image { .. } => 0,
        Fit::Tag { .. } => 1,
        Fit::Fleet { .. } => 2,
        Fit::Device => 3,
        Fit::DeviceTag { .. } => 4,
        Fit::Disabled => 5,
        Fit::Whole => 6,
    }
}

fn measure(policy: &Policy, device: &Device, image: &ImageReference) -> (Fit, usize) {
    let repository = image.repository().to_string();
    let alike = repository
        .bytes()
        .zip(policy.spec.image.bytes())
        .take_while(|(one, other)| one == other)
        .count();
    if !glob_matches(&policy.spec.image, &repository) {
        let pattern = policy.spec.image.clone();
        return (
            Fit::Image {
                pattern,
                repository,
            },
            alike,
        );
    }
    let tag = image.tag().unwrap_or("latest");
    let fit = if tag_matches(&policy.spec.tag, tag) {
        filtered(&policy.spec.filters, device).unwrap_or(if policy.spec.enabled {
            Fit::Whole
        } else {
            Fit::Disabled
        })
    } else {
        Fit::Tag {
            tag: tag.to_owned(),
        }
    };
    (fit, alike)
}

/// The first filter that leaves a device out.
fn filtered(filters: &Filters, device: &Device) -> Option<Fit> {
    if !filters.fleets.is_empty() && !filters.fleets.contains(&device.fleet) {
        let fleets = filters.fleets.iter().map(ToString::to_string).collect();
        return Some(Fit::Fleet { fleets });
    }
    if !filters.uuids.is_empty() && !filters.uuids.contains(&device.uuid) {
        return Some(Fit::Device);
    }
    let lacking = filters
        .tags
        .iter()
        .find(|(key, value)| device.tags.get(*key) != Some(value))?;
    Some(Fit::DeviceTag {
        key: lacking.0.clone(),
        value: lacking.1.clone(),
        has: device.tags.get(lacking.0).cloned(),
    })
}
