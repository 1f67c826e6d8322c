//! The sentences about devices.

use super::DeviceReason as D;
use crate::why::Reason;
use crate::why::text::{because, list, many_are, named, on_the_way, time, times, when, words};
use windlass_types::rollout::SkipReason;
use windlass_types::target::TargetSource;

pub(super) fn of(reason: &D) -> String {
    match reason {
        D::Disabled => {
            "The device is switched off: it may neither poll nor report, and rollouts leave it out."
                .to_owned()
        }
        D::NeverSeen => "The device has not been seen since it was registered.".to_owned(),
        D::Offline { seen, .. } => {
            format!("The device is silent; it was seen last at {}.", time(*seen))
        }
        D::Seen { at } => format!("The device was seen last at {}.", time(*at)),
        D::SetAside { why, until } => format!(
            "The device failed again and again and is set aside until {}: {}.",
            time(*until),
            words(why)
        ),
        D::WasSetAside { why, until } => format!(
            "The device failed again and again and was set aside until {}, which is over: {}.",
            time(*until),
            words(why)
        ),
        D::NoTarget => "The device is to run nothing: nobody has given it a target yet.".to_owned(),
        D::Target {
            version,
            source,
            image,
        } => target(*version, *source, image.as_deref()),
        D::DigestFailedHere { digest, everywhere } => {
            let everywhere = if *everywhere {
                ", and it is in quarantine for every device"
            } else {
                ""
            };
            format!("{digest} failed on the device and is not shipped to it again{everywhere}.")
        }
        D::NoPolicies => "There is no policy, so that no push leads to a rollout.".to_owned(),
        D::PolicyDisabled { policy } => {
            format!("The policy {policy:?} takes the device, but is switched off.")
        }
        D::PolicyOtherImage {
            policy,
            pattern,
            repository,
        } => format!(
            "No policy takes {repository}, which the device runs; the nearest, {policy:?}, takes {pattern}."
        ),
        D::PolicyOtherTag { policy, tag } => format!(
            "The policy {policy:?} takes what the device runs, but not the tag {tag:?} that it is on."
        ),
        D::PolicyOtherFleet {
            policy,
            fleets,
            fleet,
        } => format!(
            "The policy {policy:?} takes what the device runs, but is for {} {}, and the device is in {fleet}.",
            if fleets.len() == 1 {
                "the fleet"
            } else {
                "the fleets"
            },
            list(fleets)
        ),
        D::PolicyOtherDeviceTag {
            policy,
            key,
            value,
            has,
        } => {
            let has = has.as_ref().map_or_else(
                || format!("the device has no tag {key}"),
                |has| format!("the device has {key}={has}"),
            );
            format!(
                "The policy {policy:?} takes what the device runs, but is for devices with {key}={value}, and {has}."
            )
        }
        D::PolicyOtherDevice { policy } => format!(
            "The policy {policy:?} takes what the device runs, but names its devices, and this is none of them."
        ),
        D::NothingPushed { policy } => {
            format!("The policy {policy:?} takes the device, and no newer image has come for it.")
        }
        D::Turn {
            image,
            batch,
            batches,
        } => format!("The device waits in batch {batch} of {batches} of the rollout of {image}."),
        D::Held(reason) => reason.sentence(),
        D::WindowClosedHere { zone, opens_at } => {
            let opens = opens_at.map_or_else(
                || "does not open again".to_owned(),
                |at| format!("opens at {}", time(at)),
            );
            format!(
                "In the device's time zone, {zone}, the maintenance window is closed; it {opens}."
            )
        }
        D::LabelLimitHere {
            key,
            value,
            limit,
            unavailable,
            holders,
            ..
        } => {
            format!(
                "{} unavailable where {key} is {value}, and the policy allows {limit} at once{}.",
                many_are(*unavailable, "device"),
                named(*unavailable, holders)
            )
        }
        D::RetryHere {
            image,
            tried,
            of,
            what,
            at,
        } => format!(
            "{image} could not be put on the device for a reason that is not the image's{}; try {} of {of} is at {}.",
            because(what.as_deref()),
            tried,
            time(*at)
        ),
        D::NotPolled { image, until } => format!(
            "The device is to run {image} and has not asked for its target yet{}.",
            when("; it must be healthy by ", *until)
        ),
        D::Updating { image, until } => format!(
            "The device has its target and works on {image}{}.",
            when("; it must be healthy by ", *until)
        ),
        D::Pulling { image, until } => format!(
            "The device pulls {image}{}.",
            when("; it must be healthy by ", *until)
        ),
        D::Pulled { image, until } => format!(
            "The device has pulled {image} and starts it{}.",
            when("; it must be healthy by ", *until)
        ),
        D::Verifying {
            image,
            stable_until,
        } => format!(
            "The device runs {image}, which must stay up{}.",
            when(" until ", *stable_until)
        ),
        D::Restarting {
            image,
            restarts,
            stable_until,
        } => format!(
            "The device runs {image}, which was restarted {} and must now stay up{}.",
            times(*restarts),
            when(" until ", *stable_until)
        ),
        D::CheckPending {
            name,
            tries,
            said,
            until,
        } => {
            let said = said
                .as_deref()
                .map(words)
                .filter(|said| !said.is_empty())
                .map(|said| format!(" and said last: {said}"))
                .unwrap_or_default();
            let tried = if *tries == 0 {
                "it was not tried yet".to_owned()
            } else {
                format!("it was tried {}{said}", times(*tries))
            };
            format!("The check {name:?} must pass by {}; {tried}.", time(*until))
        }
        D::Completed { image } => format!("The device is healthy on {image}."),
        D::Failed { image, what } => {
            format!("{image} failed on the device{}.", because(what.as_deref()))
        }
        D::FailedEnvironment { image, tries, what } => {
            let tries = match tries {
                0 => String::new(),
                1 => ", after 1 more try".to_owned(),
                tries => format!(", after {tries} more tries"),
            };
            format!(
                "{image} could not be put on the device for a reason that is not the image's{tries}{}.",
                because(what.as_deref())
            )
        }
        D::RollbackWaits {
            limit,
            on_their_way,
            before,
        } => format!(
            "The device is to go back to what it ran before, but {} back, and the policy allows {limit} at once; {}.",
            on_the_way(*on_their_way),
            match before {
                0 => "it is the next".to_owned(),
                before => format!("{} before it", many_are(*before, "device")),
            }
        ),
        D::Unreachable { image } => format!(
            "The device has been silent since it was to take {image}; it gets it when it is back."
        ),
        D::SilentAfterUpdate { image } => {
            format!("The device went silent after it took up {image}.")
        }
        D::Inconclusive { image, what } => format!(
            "The device runs {image}, but whether it is healthy could not be found out in time{}.",
            because(what.as_deref())
        ),
        D::RollingBack { from, to, until } => format!(
            "The device goes back from {from} to {}{}.",
            good(to.as_deref()),
            when("; it must be there by ", *until)
        ),
        D::RolledBack { from, to, what } => format!(
            "The device went back from {from} to {}{}.",
            good(to.as_deref()),
            because(what.as_deref())
        ),
        D::RollbackFailed { from, to, what } => format!(
            "The device did not get back from {from} to {}{}.",
            good(to.as_deref()),
            because(what.as_deref())
        ),
        D::Skipped {
            image,
            reason,
            other,
            detail,
        } => skipped(image, *reason, other.as_deref(), detail.as_deref()),
    }
}

fn good(image: Option<&str>) -> &str {
    image.unwrap_or("its last good image")
}

fn target(version: i64, source: TargetSource, image: Option<&str>) -> String {
    let of = image.map(|image| format!(" ({image})")).unwrap_or_default();
    let by = match source {
        TargetSource::Initial => {
            return "The device's target was made empty when it was registered.".to_owned();
        }
        TargetSource::Operator => "a person",
        TargetSource::Rollout => "a rollout",
        TargetSource::Rollback => "a rollback",
    };
    format!("What the device is to run{of} was set by {by}; it is version {version} of its target.")
}

fn skipped(
    image: &str,
    reason: Option<SkipReason>,
    other: Option<&str>,
    detail: Option<&str>,
) -> String {
    let left_out = format!("The rollout of {image} left the device out because ");
    let why = match reason {
        Some(SkipReason::Disabled) => "it was switched off".to_owned(),
        Some(SkipReason::FailedHereBefore) => "this very image failed on it before".to_owned(),
        Some(SkipReason::AlreadyOnImage) => "it is to run this very image already".to_owned(),
        Some(SkipReason::TargetChanged) => other.map_or_else(
            || "its target was changed meanwhile".to_owned(),
            |other| format!("the rollout of {other} changed its target meanwhile"),
        ),
        Some(SkipReason::RolloutEnded) => "the rollout ended before its turn".to_owned(),
        Some(SkipReason::OutOfScope) => {
            "it is no longer among the devices that the rollout is for".to_owned()
        }
        Some(SkipReason::Deleted) => "it was deleted".to_owned(),
        Some(SkipReason::Downgrade) => {
            "it is to run a newer version, and the policy does not allow older ones".to_owned()
        }
        Some(SkipReason::PenaltyBox) => {
            "it failed again and again and was set aside for a time".to_owned()
        }
        Some(SkipReason::HigherPriority) => other.map_or_else(
            || "another rollout of the same image with a higher priority has it".to_owned(),
            |other| format!("the rollout of {other}, which has a higher priority, has it"),
        ),
        Some(SkipReason::Quarantined) => {
            "the image is in quarantine for devices like this one".to_owned()
        }
        Some(SkipReason::OtherPlatform) => "the image is not made for its platform".to_owned(),
        Some(SkipReason::Unreadable) => "what it is to run could not be read".to_owned(),
        None => detail.map_or_else(
            || "it could not take it".to_owned(),
            |detail| format!("of {:?}", words(detail)),
        ),
    };
    format!("{left_out}{why}.")
}
