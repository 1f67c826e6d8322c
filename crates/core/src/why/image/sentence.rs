//! The sentences about images.

use super::ImageReason as I;
use crate::why::Reason;
use crate::why::text::{because, many, time, times, when, words};
use chrono::{DateTime, Utc};
use windlass_types::api::WaitReason;
use windlass_types::delivery::ReasonCode;
use windlass_types::rollout::RolloutStatus;

pub(super) fn of(reason: &I) -> String {
    match reason {
        I::NeverPushed { image, nearest } => {
            let nearest = nearest
                .as_ref()
                .map(|nearest| format!("; the nearest that was seen is {nearest}"))
                .unwrap_or_default();
            format!("No delivery has told of {image}{nearest}.")
        }
        I::DeliveryIgnored { sender, code } => format!(
            "The last delivery about it, from {}, was no push of an image{}.",
            sender_name(sender),
            ignored(*code)
        ),
        I::DeliveryDuplicate { times: number } => {
            format!("The push was told of {}, and counts once.", times(*number))
        }
        I::DigestUnknown {
            image,
            tries,
            error,
            next_at,
        } => {
            let error = because(error.as_deref());
            let tried = match tries {
                0 => String::new(),
                tries => format!(" after {}", tried(*tries)),
            };
            let next = next_at
                .map(|at| format!("; it is asked again at {}", time(at)))
                .unwrap_or_default();
            format!("The registry has not said which digest {image} names{tried}{error}{next}.")
        }
        I::NotPlanned => "The push was seen; the planner decides about it in a moment.".to_owned(),
        I::Replaced { by: Some(by) } => format!("A newer version of the tag has come: {by}."),
        I::Replaced { by: None } => "A newer version of the tag has come.".to_owned(),
        I::Quarantined { rollout, why } => {
            let rollout = rollout
                .as_ref()
                .map(|rollout| format!(" since the rollout of {rollout}"))
                .unwrap_or_default();
            format!("It is in quarantine{rollout}: {}.", words(why))
        }
        I::QuarantinedForClass { key, value, why } => format!(
            "It is in quarantine for devices with {key}={value}: {}.",
            words(why)
        ),
        I::WasQuarantined { detail } => format!(
            "It was in quarantine when it was pushed, so that nothing was shipped{}.",
            because(detail.as_deref())
        ),
        I::Downgrade { detail } => format!(
            "It is older than what the devices are to run, and the policy does not allow that{}.",
            because(detail.as_deref())
        ),
        I::TagMoved { tag } => {
            format!("The tag {tag} named another image before; this one is a version of its own.")
        }
        I::BelowNewest { policy, detail } => format!(
            "It is not the newest of the versions that {} takes{}.",
            policy_name(policy.as_deref()),
            because(detail.as_deref())
        ),
        I::Waits {
            reason,
            policy,
            detail,
            until,
        } => waits(*reason, policy.as_deref(), detail, *until),
        I::NeverSigned { policy, detail } => format!(
            "It lacks a signature that {} wants{}.",
            policy_name(policy.as_deref()),
            because(detail.as_deref())
        ),
        I::NotAnImage => {
            "It is no image: its registry says that it is a signature, a chart or the like."
                .to_owned()
        }
        I::NoPolicies => "There is no policy, so that no push leads to a rollout.".to_owned(),
        I::PolicyDisabled { policy } => {
            format!("The policy {policy:?} takes it, but is switched off.")
        }
        I::PolicyOtherTag { policy, tags, tag } => format!(
            "The policy {policy:?} takes its repository, but not the tag {tag:?}: it takes {tags}."
        ),
        I::PolicyOtherImage {
            policy,
            pattern,
            repository,
        } => format!("No policy takes {repository}; the nearest, {policy:?}, takes {pattern}."),
        I::NoPolicyTookIt { now, detail } => {
            let then = format!(
                "No policy took it when it was pushed{}",
                because(detail.as_deref())
            );
            match now {
                Some(now) => format!("{then}. The policy {now:?} takes it by now."),
                None => format!("{then}."),
            }
        }
        I::NoDevices { policy, detail } => {
            let policy = policy.as_ref().map_or_else(
                || "A policy".to_owned(),
                |name| format!("The policy {name:?}"),
            );
            format!(
                "{policy} took it, but no device can{}.",
                because(detail.as_deref())
            )
        }
        I::RolloutMade {
            policy,
            image,
            devices,
            healthy,
            status,
        } => {
            let by = policy.as_ref().map_or_else(
                || "by hand".to_owned(),
                |name| format!("by the policy {name:?}"),
            );
            format!(
                "A rollout of {image} to {} was made {by}; it {}, and {healthy} are healthy on it.",
                many(*devices, "device"),
                stands(*status)
            )
        }
        I::Held(reason) => reason.sentence(),
    }
}

fn policy_name(name: Option<&str>) -> String {
    name.map_or_else(
        || "the policy".to_owned(),
        |name| format!("the policy {name:?}"),
    )
}

fn waits(
    reason: WaitReason,
    policy: Option<&str>,
    detail: &str,
    until: Option<DateTime<Utc>>,
) -> String {
    let policy = policy_name(policy);
    let why = because(Some(detail));
    let at = |words: &str| when(words, until);
    match reason {
        WaitReason::TooYoung => {
            format!(
                "It is too new for {policy}{why}{}.",
                at("; it is old enough at ")
            )
        }
        WaitReason::Held => format!("Nothing new ships by {policy}{}{why}.", at(" until ")),
        WaitReason::Unsigned => format!(
            "{} wants it signed{why}{}.",
            upper(&policy),
            at("; it is looked for until ")
        ),
        WaitReason::WrongSignature => format!(
            "Its signature is not what {policy} wants{why}{}.",
            at("; another is looked for until ")
        ),
        WaitReason::SignatureUnknown => format!(
            "Whether it is signed, as {policy} wants it, is not known{why}{}.",
            at("; it is asked again at ")
        ),
        WaitReason::PlatformsUnknown => format!(
            "Which platforms it is made for is not known{why}{}.",
            at("; it is asked again at ")
        ),
        WaitReason::BuildDateUnknown => format!(
            "When it was built is not known, which {policy} goes by{why}{}.",
            at("; it is asked again at ")
        ),
    }
}

fn upper(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}

fn tried(tries: i64) -> String {
    if tries == 1 {
        "1 try".to_owned()
    } else {
        format!("{tries} tries")
    }
}

fn sender_name(sender: &str) -> String {
    match sender {
        "docker_hub" => "Docker Hub".to_owned(),
        "ghcr" => "GitHub".to_owned(),
        "distribution" => "a registry".to_owned(),
        other => other.replace('_', " "),
    }
}

/// What a delivery was, in the words of its reason code.
fn ignored(code: Option<ReasonCode>) -> String {
    let Some(code) = code else {
        return String::new();
    };
    let mut meaning = words(code.meaning());
    if let Some(first) = meaning.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    format!(": {meaning}")
}

const fn stands(status: RolloutStatus) -> &'static str {
    match status {
        RolloutStatus::Pending => "has not begun",
        RolloutStatus::AwaitingApproval => "waits for approval",
        RolloutStatus::Scheduled => "waits for its time",
        RolloutStatus::InProgress => "is under way",
        RolloutStatus::Paused => "is paused",
        RolloutStatus::Completed => "is complete",
        RolloutStatus::Failed => "ended without success",
        RolloutStatus::Cancelled => "was ended by a person",
        RolloutStatus::Superseded => "gave way to a newer version",
        RolloutStatus::RollingBack => "is being taken back",
        RolloutStatus::RolledBack => "was taken back",
    }
}
