//! Which reasons hold for an image.

use super::ImageReason;
use crate::matching::{self, NoMatch};
use crate::why::text::name;
use crate::why::{Since, rollout};
use chrono::{DateTime, Utc};
use windlass_types::api::{ImageVersion, PlanDecision, VersionPlan, VersionWait};
use windlass_types::delivery::Decision;
use windlass_types::ids::PolicyId;
use windlass_types::image::ImageReference;
use windlass_types::policy::Policy;
use windlass_types::why::facts::{ImageStory, RolloutStory};

type Found = Since<ImageReason>;

/// Why a pushed image went to devices, or did not.
#[must_use]
pub fn image(story: &ImageStory, now: DateTime<Utc>) -> Vec<Found> {
    let mut found = Vec::new();
    match &story.version {
        None => not_seen(story, &mut found),
        Some(version) => {
            let quarantined = quarantine(story, &mut found);
            if let Some(at) = version.replaced_at {
                let by = story.replaced_by.as_deref().map(name);
                found.push(Since::new(ImageReason::Replaced { by }, Some(at)));
            }
            if version.moved {
                let tag = version.tag.clone();
                found.push(Since::new(
                    ImageReason::TagMoved { tag },
                    Some(version.seen_at),
                ));
            }
            if version.decision.is_none() && version.waits.is_empty() {
                found.push(undecided(story, version));
            }
            if version.replaced_at.is_none() {
                found.extend(version.waits.iter().map(|wait| waits(story, wait)));
            }
            for plan in &version.plans {
                found.extend(decided(story, version, plan, quarantined));
            }
        }
    }
    for rollout in &story.rollouts {
        found.extend(made(story, rollout, now));
    }
    if let (Some(delivery), Some(version)) = (&story.delivery, &story.version)
        && delivery.received_count > 1
    {
        let reason = ImageReason::DeliveryDuplicate {
            times: delivery.received_count,
        };
        found.push(Since::new(reason, Some(version.seen_at)));
    }
    found
}

fn not_seen(story: &ImageStory, found: &mut Vec<Found>) {
    if story.rollouts.is_empty() {
        let asked = ImageReference::of(
            &story.repository,
            story.tag.as_deref(),
            story.digest.as_ref(),
        );
        let reason = ImageReason::NeverPushed {
            image: name(&asked.to_string()),
            nearest: nearest(story),
        };
        found.push(Since::new(reason, None));
    }
    if let Some(delivery) = &story.delivery {
        let reason = match delivery.decision {
            Decision::Ignored | Decision::Rejected => ImageReason::DeliveryIgnored {
                sender: delivery.sender.clone(),
                code: delivery.reason,
            },
            Decision::Accepted | Decision::Duplicate => ImageReason::DeliveryDuplicate {
                times: delivery.received_count,
            },
        };
        found.push(Since::new(reason, Some(delivery.received_at)));
    }
    quarantine(story, found);
}

/// Of the repositories that were seen the one that is written most like the one asked about: a
/// mistyped name begins or ends alike.
fn nearest(story: &ImageStory) -> Option<String> {
    let asked = story.repository.to_string();
    let alike = |name: &str| {
        let head = asked.bytes().zip(name.bytes());
        let tail = asked.bytes().rev().zip(name.bytes().rev());
        head.take_while(|(one, other)| one == other).count()
            + tail.take_while(|(one, other)| one == other).count()
    };
    // Where the repository itself was seen, it is the tag or digest that was not.
    if story.seen.contains(&asked) {
        return Some(asked);
    }
    story
        .seen
        .iter()
        .max_by_key(|name| (alike(name), std::cmp::Reverse((*name).clone())))
        .cloned()
}

/// Whether it is in quarantine for every device.
fn quarantine(story: &ImageStory, found: &mut Vec<Found>) -> bool {
    let mut whole = false;
    for one in &story.quarantine {
        let why = one.of.reason.clone();
        let reason = match (&one.of.tag_key, &one.of.tag_value) {
            (Some(key), Some(value)) => ImageReason::QuarantinedForClass {
                key: key.clone(),
                value: value.clone(),
                why,
            },
            _ => {
                whole = true;
                ImageReason::Quarantined {
                    rollout: one.rollout.as_deref().map(name),
                    why,
                }
            }
        };
        found.push(Since::new(reason, Some(one.of.created_at)));
    }
    whole
}

fn undecided(story: &ImageStory, version: &ImageVersion) -> Found {
    let reason = if version.digest.is_some() {
        ImageReason::NotPlanned
    } else {
        let resolving = story.resolving.as_ref();
        ImageReason::DigestUnknown {
            image: format!("{}:{}", version.repository, version.tag),
            tries: resolving.map_or(0, |one| one.tries),
            error: version.resolve_error.clone(),
            next_at: resolving.and_then(|one| one.next_at),
        }
    };
    Since::new(reason, Some(version.seen_at))
}

fn decided(
    story: &ImageStory,
    version: &ImageVersion,
    plan: &VersionPlan,
    quarantined: bool,
) -> Option<Found> {
    let detail = plan.detail.clone();
    let reason = match plan.decision {
        // The rollouts are told of themselves, the quarantine and the newer version were.
        PlanDecision::Rollout => return None,
        PlanDecision::Quarantined if quarantined => return None,
        PlanDecision::Replaced if version.replaced_at.is_some() => return None,
        PlanDecision::Quarantined => ImageReason::WasQuarantined { detail },
        PlanDecision::Replaced => ImageReason::Replaced { by: None },
        PlanDecision::Downgrade => ImageReason::Downgrade { detail },
        PlanDecision::NoPolicy => no_policy(story, version, detail),
        PlanDecision::NoDevices => ImageReason::NoDevices {
            policy: named(story, plan.policy_id),
            detail,
        },
        PlanDecision::BelowNewest => ImageReason::BelowNewest {
            policy: named(story, plan.policy_id),
            detail,
        },
        PlanDecision::Unsigned => ImageReason::NeverSigned {
            policy: named(story, plan.policy_id),
            detail,
        },
        PlanDecision::NotAnImage => ImageReason::NotAnImage,
    };
    Some(Since::new(reason, Some(plan.decided_at)))
}

/// What a policy that takes it waits for.
fn waits(story: &ImageStory, wait: &VersionWait) -> Found {
    let reason = ImageReason::Waits {
        reason: wait.reason,
        policy: named(story, Some(wait.policy_id)),
        detail: wait.detail.clone(),
        until: wait.until,
    };
    Since::new(reason, Some(wait.since))
}

/// The name of a policy, where it is still there.
fn named(story: &ImageStory, id: Option<PolicyId>) -> Option<String> {
    id.and_then(|id| policy(&story.policies, |one| one.id == id))
}

fn policy(policies: &[Policy], is: impl Fn(&Policy) -> bool) -> Option<String> {
    let found = policies.iter().find(|policy| is(policy));
    found.map(|policy| policy.spec.name.clone())
}

/// What the policies say now, which is what a person can change.
fn no_policy(story: &ImageStory, version: &ImageVersion, detail: Option<String>) -> ImageReason {
    match matching::decide(&story.policies, &story.repository, &version.tag) {
        Ok(now) => ImageReason::NoPolicyTookIt {
            now: Some(now.spec.name.clone()),
            detail,
        },
        Err(NoMatch::NoPolicies) => ImageReason::NoPolicies,
        Err(NoMatch::Disabled { policy }) => ImageReason::PolicyDisabled { policy },
        Err(NoMatch::Tag { policy, rule, tag }) => ImageReason::PolicyOtherTag {
            policy,
            tags: rule.to_string(),
            tag,
        },
        Err(NoMatch::Repository {
            policy,
            pattern,
            repository,
        }) => ImageReason::PolicyOtherImage {
            policy,
            pattern,
            repository: repository.to_string(),
        },
    }
}

fn made(story: &ImageStory, of: &RolloutStory, now: DateTime<Utc>) -> Vec<Found> {
    let view = &of.view;
    let reason = ImageReason::RolloutMade {
        policy: view
            .rollout
            .policy_id
            .and_then(|id| policy(&story.policies, |one| one.id == id)),
        image: name(&view.image),
        devices: view.rollout.total_devices,
        healthy: view.batches.iter().map(|batch| batch.completed).sum(),
        status: view.rollout.status,
    };
    let mut found = vec![Since::new(reason, Some(view.rollout.created_at))];
    found.extend(
        rollout(of, now)
            .into_iter()
            .map(|held| Since::new(ImageReason::Held(held.reason), held.since)),
    );
    found
}
