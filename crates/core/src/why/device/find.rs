//! Which reasons hold for a device.

use super::DeviceReason;
use crate::why::nearest::{Fit, nearest};
use crate::why::text::name;
use crate::why::{Since, place};
use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::image::Repository;
use windlass_types::rollout::DeviceStatus;
use windlass_types::target::TargetSource;
use windlass_types::why::facts::{DeviceStory, Place};

type Found = Since<DeviceReason>;

/// How long a device is silent before that is worth saying, where no rollout says otherwise: the
/// usual time of a policy.
const SILENT_AFTER: u32 = 180;

/// Why a device runs what it runs, or does not move: what keeps it, rule by rule; then what helps to
/// understand that.
#[must_use]
pub fn device(story: &DeviceStory, now: DateTime<Utc>) -> Vec<Found> {
    let mut found = Vec::new();
    if !story.device.enabled {
        found.push(Since::new(DeviceReason::Disabled, None));
    }
    let seen = presence(story, now);
    let holds = matches!(
        seen.reason,
        DeviceReason::NeverSeen | DeviceReason::Offline { holds: true, .. }
    );
    let mut known = Vec::new();
    if holds { &mut found } else { &mut known }.push(seen);
    if let Some(penalty) = &story.penalty {
        let (why, until) = (penalty.reason.clone(), penalty.until);
        let since = Some(penalty.since);
        if until > now {
            found.push(Since::new(DeviceReason::SetAside { why, until }, since));
        } else {
            known.push(Since::new(DeviceReason::WasSetAside { why, until }, since));
        }
    }
    // What is under way first; else what the latest rollout left it with.
    let open: Vec<&Place> = story.places.iter().filter(|place| is_open(place)).collect();
    for place in &open {
        found.extend(place::reasons(story, place, now));
    }
    if open.is_empty() {
        if let Some(latest) = story.places.first() {
            found.extend(place::reasons(story, latest, now));
        }
        found.extend(without_rollout(story));
    }
    known.extend(target(story));
    known.extend(story.failed.iter().map(|failed| {
        let reason = DeviceReason::DigestFailedHere {
            digest: failed.digest.short().to_owned(),
            everywhere: failed.quarantined,
        };
        Since::new(reason, Some(failed.failed_at))
    }));
    found.extend(known);
    found
}

/// Whether anything of a place is still to come.
fn is_open(place: &Place) -> bool {
    if place.back_before.is_some() {
        return true;
    }
    match place.row.status {
        DeviceStatus::Pending => !place.rollout.view.rollout.status.is_final(),
        DeviceStatus::Scheduled
        | DeviceStatus::Updating
        | DeviceStatus::Verifying
        | DeviceStatus::Unreachable
        | DeviceStatus::RollingBack => true,
        DeviceStatus::Failed => !place.rollout.view.rollout.status.is_final(),
        DeviceStatus::Completed
        | DeviceStatus::Inconclusive
        | DeviceStatus::Skipped
        | DeviceStatus::RolledBack
        | DeviceStatus::RollbackFailed => false,
    }
}

fn presence(story: &DeviceStory, now: DateTime<Utc>) -> Found {
    let Some(seen) = story.device.last_seen_at else {
        return Since::new(DeviceReason::NeverSeen, Some(story.device.created_at));
    };
    let under_way = story.places.iter().find(|place| {
        place.row.status.is_in_flight() || place.row.status == DeviceStatus::RollingBack
    });
    let silence = under_way.map_or(SILENT_AFTER, |place| {
        place
            .rollout
            .view
            .rollout
            .rule
            .health
            .unreachable_after_seconds
    });
    if now - seen < TimeDelta::seconds(i64::from(silence)) {
        return Since::new(DeviceReason::Seen { at: seen }, Some(seen));
    }
    let holds = under_way.is_some();
    Since::new(DeviceReason::Offline { seen, holds }, Some(seen))
}

/// Why a device that is in no rollout under way is in none: what the policies say.
fn without_rollout(story: &DeviceStory) -> Option<Found> {
    let images: Vec<String> = story
        .target
        .iter()
        .flat_map(|target| target.services.iter().map(|(_, _, image)| image.clone()))
        .collect();
    if images.is_empty() {
        let since = story.target.as_ref().map(|target| target.updated_at);
        return Some(Since::new(DeviceReason::NoTarget, since));
    }
    if story.policies.is_empty() {
        return Some(Since::new(DeviceReason::NoPolicies, None));
    }
    let (policy, fit) = nearest(&story.policies, &story.device, &images)?;
    let since = Some(policy.updated_at);
    let policy = policy.spec.name.clone();
    let reason = match fit {
        Fit::Whole => DeviceReason::NothingPushed { policy },
        Fit::Disabled => DeviceReason::PolicyDisabled { policy },
        Fit::Image {
            pattern,
            repository,
        } => DeviceReason::PolicyOtherImage {
            policy,
            pattern,
            repository,
        },
        Fit::Tag { tag } => DeviceReason::PolicyOtherTag { policy, tag },
        Fit::Fleet { fleets } => DeviceReason::PolicyOtherFleet {
            policy,
            fleets,
            fleet: story.device.fleet.to_string(),
        },
        Fit::Device => DeviceReason::PolicyOtherDevice { policy },
        Fit::DeviceTag { key, value, has } => DeviceReason::PolicyOtherDeviceTag {
            policy,
            key,
            value,
            has,
        },
    };
    Some(Since::new(reason, since))
}

/// Who set what the device is to run, told of the service that its latest rollout is about.
fn target(story: &DeviceStory) -> Option<Found> {
    let target = story.target.as_ref()?;
    if target.source == TargetSource::Initial {
        return None;
    }
    let about: Option<&Repository> = story
        .places
        .first()
        .map(|place| &place.rollout.view.rollout.repository);
    let image = target
        .services
        .iter()
        .map(|(_, _, image)| image)
        .find(|image| {
            about.is_none_or(|about| {
                image
                    .parse::<windlass_types::image::ImageReference>()
                    .is_ok_and(|image| image.repository() == about)
            })
        });
    let reason = DeviceReason::Target {
        version: target.version,
        source: target.source,
        image: image.map(|image| name(image)),
    };
    Some(Since::new(reason, Some(target.updated_at)))
}
