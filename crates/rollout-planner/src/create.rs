//! From a version that is to ship to a rollout with its devices and batches.

use crate::{NAME, exact};
use serde_json::json;
use std::collections::BTreeMap;
use windlass_core::versions::{Rule, goes_below};
use windlass_core::{batches, plan};
use windlass_store::rollouts::{self, NewRollout, Preview, Rival, Scope};
use windlass_store::{Result, Session, events, plans, quarantine};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{
    CorrelationId, DeliveryId, ImageVersionId, PlanId, PolicyId, RolloutId, TriggerId,
};
use windlass_types::image::{Digest, ImageReference, Repository};
use windlass_types::policy::{Filters, RolloutRule, TagRule};
use windlass_types::rollout::SkipReason;

/// What is to ship, to whom and how.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) tag_rule: TagRule,
    pub(crate) filters: &'a Filters,
    /// Filters of policies asked before: their devices are not for this rollout.
    pub(crate) without: Vec<Filters>,
    pub(crate) rule: RolloutRule,
    pub(crate) priority: i32,
    pub(crate) origin: Origin,
    /// The plan that is to be shipped exactly.
    pub(crate) plan: Option<PlanId>,
    pub(crate) correlation: CorrelationId,
    /// Who wants it: a policy's name or an operator.
    pub(crate) by: String,
    /// The fingerprint of the key whose signature was verified, where the policy wants one.
    pub(crate) signed_by: Option<String>,
    /// What would have kept it from shipping, had nobody vouched for it.
    pub(crate) vouched: Option<String>,
}

/// What led to it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// A pushed version that a policy takes.
    Push {
        policy: PolicyId,
        version: ImageVersionId,
        delivery: Option<DeliveryId>,
    },
    /// An operator.
    Trigger(TriggerId),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Made {
    /// A rollout.
    Rollout(RolloutId),
    /// None, because nobody in scope can take the image; why, for people.
    NoDevices(String),
    /// None, because the plan it was to be is not what would come of it any more; what changed, for people.
    PlanChanged(String),
    /// None, because every device in scope has a higher version, or the policy's rollout ships one; the
    /// same for people. That rollout goes on.
    Downgrade(String),
}

impl Wanted<'_> {
    /// The image as a reference.
    pub(crate) fn image(&self) -> ImageReference {
        ImageReference::of(self.repository, self.tag, self.digest)
    }
}

/// Why an image must not ship, for people, where its digest is in quarantine. Of a tag whose digest is
/// unknown it is the last known one that counts: nothing shows that the tag names another by now.
pub(crate) async fn banned(
    session: &mut Session,
    repository: &Repository,
    tag: Option<&str>,
    digest: Option<&Digest>,
) -> Result<Option<String>> {
    let (digest, last) = match (digest, tag) {
        (Some(digest), _) => (Some(digest.clone()), ""),
        (None, Some(tag)) => (
            plans::last_known_digest(session, repository, tag).await?,
            ", which the tag named last,",
        ),
        (None, None) => (None, ""),
    };
    let Some(digest) = digest else {
        return Ok(None);
    };
    let found = quarantine::get(session, &digest).await?;
    Ok(found.map(|found| format!("{digest}{last} is in quarantine: {}", found.reason)))
}

/// Makes the rollout in a snapshot transaction, and ends the one it supersedes.
pub(crate) async fn create(session: &mut Session, wanted: &Wanted<'_>) -> Result<Made> {
    let id = RolloutId(session.new_id());
    let (asked, scope) = scope(session, wanted, id).await?;
    let preview = rollouts::preview(session, &scope, 0).await?;
    let dealt = batches::layout(&preview.groups, &wanted.rule);
    if let Some(plan) = wanted.plan
        && let Some(changed) = exact::changed(session, wanted, plan, &scope, &dealt).await?
    {
        return Ok(Made::PlanChanged(changed));
    }
    if let Some(detail) = lower(session, wanted).await? {
        return Ok(Made::Downgrade(detail));
    }
    if preview.eligible == 0 && preview.only(SkipReason::Downgrade) {
        return Ok(Made::Downgrade(nobody(&preview)));
    }
    let made = (preview.eligible > 0 && dealt.is_ok()).then_some(id);
    let rivals = rollouts::conflicts(session, &scope, &asked).await?;
    let seed = asked.seed;
    // Also where nobody can take the new version: the old one is not wanted any more.
    let superseded = match wanted.origin {
        Origin::Push { policy, .. } => supersede(session, wanted, policy, made).await?,
        Origin::Trigger(_) => None,
    };
    let layout = match dealt {
        Ok(layout) if preview.eligible > 0 => layout,
        refused => {
            let mut detail = match refused {
                Ok(_) => nobody(&preview),
                Err(chosen) => chosen.to_string(),
            };
            if let Some(old) = superseded {
                detail.push_str(&format!("; rollout {old} of an older version was ended"));
            }
            return Ok(Made::NoDevices(detail));
        }
    };
    let (policy, version, delivery, trigger) = match wanted.origin {
        Origin::Push {
            policy,
            version,
            delivery,
        } => (Some(policy), Some(version), delivery, None),
        Origin::Trigger(trigger) => (None, None, None, Some(trigger)),
    };
    let rollout = NewRollout {
        id,
        policy,
        delivery,
        version,
        trigger,
        tag: wanted.tag.map(str::to_owned),
        status: plan::first_status(&wanted.rule),
        rule: wanted.rule.clone(),
        tag_rule: wanted.tag_rule.clone(),
        priority: wanted.priority,
        seed,
        layout,
        spread: preview.spread.clone(),
        correlation: wanted.correlation,
        created_by: wanted.by.clone(),
        scope,
    };
    let devices = rollouts::create(session, &rollout).await?;
    let conflicts: Vec<_> = rivals.iter().map(Rival::describe).collect();
    let event = NewEvent::new(EventType::RolloutCreated, NAME)
        .rollout(id, wanted.correlation)
        .subject(&wanted.image())
        .data(json!({
            "image": wanted.image(),
            "by": wanted.by,
            "policy_id": policy,
            "strategy": wanted.rule.strategy,
            "priority": wanted.priority,
            "status": rollout.status,
            "devices": devices,
            "batches": rollout.layout.sizes(),
            // Those left out are counted with the last batch.
            "skipped": skipped(&preview),
            "supersedes": superseded,
            "signed_by": wanted.signed_by,
            "vouched_for": wanted.vouched,
            "rollout": {"status": rollout.status, "batch": 0},
            "conflicts": conflicts,
        }));
    events::append(session, event).await?;
    tracing::info!(
        rollout.id = %id,
        image = %wanted.image(),
        devices,
        batches = rollout.layout.batches(),
        by = wanted.by,
        "a rollout was made"
    );
    Ok(Made::Rollout(id))
}

/// What is asked of the store, and the scope it gives.
async fn scope<'a>(
    session: &mut Session,
    wanted: &'a Wanted<'_>,
    id: RolloutId,
) -> Result<(rollouts::Wanted<'a>, Scope)> {
    let (seed, policy) = match wanted.origin {
        Origin::Push { policy, .. } => (batches::seed_of(&id.to_string()), Some(policy)),
        // What a dry run of the same image has shown.
        Origin::Trigger(_) => (batches::seed_of(&wanted.image().to_string()), None),
    };
    let asked = rollouts::Wanted {
        repository: wanted.repository,
        tag: wanted.tag,
        digest: wanted.digest,
        tag_rule: &wanted.tag_rule,
        filters: wanted.filters,
        without: &wanted.without,
        rule: &wanted.rule,
        priority: wanted.priority,
        policy,
        seed,
    };
    let scope = Scope::of(session, &asked).await?;
    Ok((asked, scope))
}

/// Why a pushed version must not end the policy's present rollout, for people: that ships a higher one.
async fn lower(session: &mut Session, wanted: &Wanted<'_>) -> Result<Option<String>> {
    let Origin::Push { policy, .. } = wanted.origin else {
        return Ok(None);
    };
    if wanted.rule.allow_downgrade {
        return Ok(None);
    }
    let rule = Rule::new(&wanted.tag_rule);
    let present = rollouts::to_supersede(session, policy, wanted.repository).await?;
    Ok(present.and_then(|(id, tag)| {
        rule.as_ref()
            .is_ok_and(|rule| goes_below(rule, (tag.as_deref(), None), (wanted.tag, None)))
            .then(|| {
                let tag = tag.unwrap_or_default();
                format!("rollout {id} of this policy ships {tag}, which is higher")
            })
    }))
}

/// Ends the rollout of an older version, whether or not there is one of the new version.
async fn supersede(
    session: &mut Session,
    wanted: &Wanted<'_>,
    policy: PolicyId,
    by: Option<RolloutId>,
) -> Result<Option<RolloutId>> {
    let image = wanted.image();
    let detail = match by {
        Some(id) => format!("{image} came; its rollout is {id}"),
        None => format!("{image} came; no device can take it"),
    };
    let Some((old, skipped)) =
        rollouts::supersede(session, policy, wanted.repository, &detail, NAME).await?
    else {
        return Ok(None);
    };
    let event = NewEvent::new(EventType::RolloutSuperseded, NAME)
        .rollout(old.id, old.correlation_id)
        .subject(&ImageReference::of(
            &old.repository,
            old.tag.as_deref(),
            old.digest.as_ref(),
        ))
        .data(json!({
            "by": by,
            "image": image,
            "batch": old.current_batch,
            "batches": old.batch_count,
            "skipped": skipped,
        }))
        .stands(&old);
    events::append(session, event).await?;
    Ok(Some(old.id))
}

fn skipped(preview: &Preview) -> BTreeMap<&'static str, i64> {
    let counts = preview.skipped.iter();
    counts
        .map(|(reason, devices)| (reason.as_str(), *devices))
        .collect()
}

/// Why nobody can take the image.
fn nobody(preview: &Preview) -> String {
    if preview.skipped.is_empty() {
        return "no device's target names this repository under the policy's tags and filters"
            .to_owned();
    }
    let parts: Vec<_> = skipped(preview)
        .into_iter()
        .map(|(reason, devices)| format!("{devices} {}", reason.replace('_', " ")))
        .collect();
    format!("all devices in scope are left out: {}", parts.join(", "))
}
