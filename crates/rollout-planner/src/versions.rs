//! What becomes of pushed versions: a rollout, or the reason why there is none.

use crate::create::{Made, Origin, Wanted, banned, create};
use crate::metrics::Metrics;
use crate::ready::{self, Standing, Version};
use crate::{NAME, PAGE};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use windlass_core::matching;
use windlass_service::Deps;
use windlass_store::plans::{self, OpenVersion};
use windlass_store::waits::{self, Waiting};
use windlass_store::{Error, Result, Session, events, image_facts, policies};
use windlass_types::api::PlanDecision;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{ImageVersionId, PolicyId, RolloutId};
use windlass_types::image::ImageReference;
use windlass_types::policy::{Filters, OnUnresolved, Policy};

/// Plans every version that can be planned, oldest first. One that fails does not keep the others
/// waiting; the failure is returned at the end, and it is tried again.
pub async fn run(deps: &Deps, metrics: &Metrics, attempts: i64) -> Result<()> {
    let mut failed = Ok(());
    let mut after = None;
    loop {
        let mut read = deps.store.read().await?;
        let page = plans::open_versions(&mut read, attempts, after, PAGE).await?;
        drop(read);
        for id in &page {
            match plan(deps, metrics, *id, attempts).await {
                Ok(()) => {}
                // Another replica was first, or a newer push came in between: the next run sees.
                Err(Error::Conflict(_)) => metrics.conflicts.inc(),
                Err(error) => failed = Err(error),
            }
        }
        after = page.last().copied();
        if after.is_none() || page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            return failed;
        }
    }
}

/// What was made of a version.
struct Decided {
    decision: PlanDecision,
    policy: Option<PolicyId>,
    rollout: Option<RolloutId>,
    detail: Option<String>,
}

/// What was made of a version by all policies that take it.
#[derive(Default)]
struct Outcome {
    decided: Vec<Decided>,
    waiting: Vec<Waiting>,
}

async fn plan(deps: &Deps, metrics: &Metrics, id: ImageVersionId, attempts: i64) -> Result<()> {
    let mut tx = deps.store.begin_snapshot().await?;
    let Some(version) = plans::take_version(&mut tx, id).await? else {
        return tx.rollback().await;
    };
    let (before, first) = plans::decided(&mut tx, id).await?;
    let Some(Outcome { decided, waiting }) = decide(&mut tx, &version, &before, attempts).await?
    else {
        // It stays open until its digest is known.
        return tx.rollback().await;
    };
    let image = image(&version);
    for (position, made) in (first..).zip(&decided) {
        plans::decide_version(
            &mut tx,
            id,
            position,
            made.decision,
            made.policy,
            made.rollout,
            made.detail.as_deref(),
        )
        .await?;
    }
    let new = waits::set(&mut tx, id, &waiting).await?;
    for wait in &new {
        let event = NewEvent::new(EventType::UpdateWaits, NAME)
            .subject(&image)
            .correlation(Some(version.correlation))
            .data(json!({
                "image": image,
                "policy_id": wait.policy,
                "reason": wait.reason,
                "detail": wait.detail,
                "until": wait.until,
            }));
        events::append(&mut tx, event).await?;
    }
    if let Some(at) = look_again_at(&waiting, tx.now()) {
        plans::keep_open(&mut tx, id, at).await?;
    } else if let Some(digest) = &version.digest {
        image_facts::stop_signatures(&mut tx, &version.repository, digest).await?;
    }
    if let Some(first) = decided.first()
        && waiting.is_empty()
        && decided.iter().all(|made| made.rollout.is_none())
    {
        let event = NewEvent::new(EventType::UpdateIgnored, NAME)
            .subject(&image)
            .correlation(Some(version.correlation))
            .data(json!({
                "image": image,
                "reason": first.decision,
                "detail": first.detail,
                "policy_id": first.policy,
                "policies": decided.len(),
            }));
        events::append(&mut tx, event).await?;
    }
    deps.commit(tx).await?;
    for made in &decided {
        metrics
            .decisions
            .with_label_values(&[made.decision.as_str()])
            .inc();
        tracing::info!(
            image = %image,
            decision = %made.decision,
            detail = made.detail,
            "a pushed version was planned"
        );
    }
    for wait in &new {
        tracing::info!(
            image = %image,
            reason = %wait.reason,
            detail = wait.detail,
            until = wait.until.map(|at| at.to_string()),
            "a pushed version waits"
        );
    }
    Ok(())
}

/// When a version that waits is looked at again at the latest; what changes in between has it looked at
/// sooner. None where nothing waits.
fn look_again_at(waiting: &[Waiting], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let latest = now + TimeDelta::minutes(10);
    // Never at once: a time that is over and changed nothing would be looked at without end.
    let soonest = now + TimeDelta::seconds(1);
    let at = waiting
        .iter()
        .map(|wait| wait.until.unwrap_or(latest).clamp(soonest, latest));
    at.min()
}

fn image(version: &OpenVersion) -> ImageReference {
    ImageReference::of(
        &version.repository,
        Some(&version.tag),
        version.digest.as_ref(),
    )
}

/// What each policy that takes a version makes of it, in their order; none where it is to wait for its
/// digest. Policies that have decided before are not asked again; and once some have, only those that
/// waited: a policy that was made since is for what is pushed since. One that is planned anew is planned for
/// one policy.
async fn decide(
    session: &mut Session,
    version: &OpenVersion,
    before: &[Option<PolicyId>],
    attempts: i64,
) -> Result<Option<Outcome>> {
    let without = |decision, policy: Option<PolicyId>, detail: Option<String>| Decided {
        decision,
        policy,
        rollout: None,
        detail,
    };
    let mut waited: Vec<PolicyId> = waits::of(session, &[version.id.0])
        .await?
        .remove(&version.id.0)
        .unwrap_or_default()
        .iter()
        .map(|wait| wait.policy_id)
        .collect();
    let begins = waited.is_empty() && (before.is_empty() || version.only.is_some());
    let first_time = begins && version.only.is_none();
    if begins {
        waited.extend(version.only);
    }
    // The same for all that are asked; for nobody in particular where nobody has waited.
    let all = |decision, policy: Option<PolicyId>, detail: String| {
        let whom: Vec<Option<PolicyId>> = if first_time {
            vec![policy]
        } else {
            waited.iter().copied().map(Some).collect()
        };
        let decided = whom
            .into_iter()
            .map(|policy| without(decision, policy, Some(detail.clone())))
            .collect();
        Some(Outcome {
            decided,
            waiting: Vec::new(),
        })
    };
    if version.replaced {
        let detail = "a newer version of the tag came before it was planned".to_owned();
        return Ok(all(PlanDecision::Replaced, None, detail));
    }
    let policies = policies::all(session).await?;
    let deciding = match matching::deciding(&policies, &version.repository, &version.tag) {
        Ok(deciding) => deciding,
        Err(none) => return Ok(all(PlanDecision::NoPolicy, None, none.to_string())),
    };
    // A version without a digest is planned once, for all of them: so all of them wait if one does.
    let waits = |policy: &&Policy| policy.spec.on_unresolved == OnUnresolved::Wait;
    if version.digest.is_none() && deciding.iter().any(waits) {
        return Ok(None);
    }
    let (tag, digest) = (Some(version.tag.as_str()), version.digest.as_ref());
    if let Some(detail) = banned(session, &version.repository, tag, digest).await? {
        let first = deciding.first().map(|policy| policy.id);
        return Ok(all(PlanDecision::Quarantined, first, detail));
    }
    let of = Version {
        id: version.id,
        repository: &version.repository,
        tag: &version.tag,
        digest,
        first_seen: version.first_seen,
        correlation: version.correlation,
    };
    ready::ask(session, &deciding, of, begins).await?;
    let mut made = Outcome::default();
    let mut taken: Vec<Filters> = Vec::new();
    for policy in &deciding {
        if first_time || waited.contains(&policy.id) {
            let (decision, detail) = match ready::standing(session, policy, of, attempts).await? {
                Standing::Waits(waiting) => {
                    made.waiting.push(waiting);
                    taken.push(policy.spec.filters.clone());
                    continue;
                }
                Standing::Never(decision, detail) => (decision, detail),
                Standing::Ready(key) => match ready::newer(session, policy, of, attempts).await? {
                    Some(tag) => {
                        let detail = format!("{tag} is newer, and the policy ships the newest");
                        (PlanDecision::BelowNewest, detail)
                    }
                    None => {
                        let decided = ship(session, policy, version, &taken, key).await?;
                        made.decided.push(decided);
                        taken.push(policy.spec.filters.clone());
                        continue;
                    }
                },
            };
            made.decided
                .push(without(decision, Some(policy.id), Some(detail)));
        }
        taken.push(policy.spec.filters.clone());
    }
    let gone = waited
        .iter()
        .filter(|id| !deciding.iter().any(|policy| policy.id == **id));
    for id in gone {
        let detail = "the policy, which waited, does not take it any more".to_owned();
        made.decided
            .push(without(PlanDecision::NoPolicy, Some(*id), Some(detail)));
    }
    Ok(Some(made))
}

/// Makes the rollout of a version by one policy.
async fn ship(
    session: &mut Session,
    policy: &Policy,
    version: &OpenVersion,
    taken: &[Filters],
    signed_by: Option<String>,
) -> Result<Decided> {
    let wanted = Wanted {
        repository: &version.repository,
        tag: Some(&version.tag),
        digest: version.digest.as_ref(),
        tag_rule: policy.spec.tag.clone(),
        filters: &policy.spec.filters,
        without: taken.to_vec(),
        rule: policy.spec.rollout_rule(),
        priority: policy.spec.priority,
        origin: Origin::Push {
            policy: policy.id,
            version: version.id,
            delivery: version.delivery,
        },
        plan: None,
        correlation: version.correlation,
        by: format!("policy:{}", policy.spec.name),
        signed_by,
        vouched: None,
    };
    let without = |decision, detail| Decided {
        decision,
        policy: Some(policy.id),
        rollout: None,
        detail: Some(detail),
    };
    Ok(match create(session, &wanted).await? {
        Made::Rollout(id) => Decided {
            decision: PlanDecision::Rollout,
            policy: Some(policy.id),
            rollout: Some(id),
            detail: None,
        },
        Made::Downgrade(detail) => without(PlanDecision::Downgrade, detail),
        // Only triggers have plans.
        Made::NoDevices(detail) | Made::PlanChanged(detail) => {
            without(PlanDecision::NoDevices, detail)
        }
    })
}
