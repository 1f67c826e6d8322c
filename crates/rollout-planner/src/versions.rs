//! What becomes of pushed versions: a rollout, or the reason why there is none.

use crate::create::{Made, Origin, Wanted, banned, create};
use crate::metrics::Metrics;
use crate::{NAME, PAGE};
use serde_json::json;
use windlass_core::matching;
use windlass_service::Deps;
use windlass_store::plans::{self, OpenVersion};
use windlass_store::{Error, Result, Session, events, policies};
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
            match plan(deps, metrics, *id).await {
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

async fn plan(deps: &Deps, metrics: &Metrics, id: ImageVersionId) -> Result<()> {
    let mut tx = deps.store.begin_snapshot().await?;
    let Some(version) = plans::take_version(&mut tx, id).await? else {
        return tx.rollback().await;
    };
    let Some(decided) = decide(&mut tx, &version).await? else {
        // It stays open until its digest is known.
        return tx.rollback().await;
    };
    let image = image(&version);
    for (position, made) in (0_i64..).zip(&decided) {
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
    if let Some(first) = decided.first()
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
    Ok(())
}

fn image(version: &OpenVersion) -> ImageReference {
    ImageReference::of(
        &version.repository,
        Some(&version.tag),
        version.digest.as_ref(),
    )
}

/// What each policy that takes a version makes of it, in their order; none where it is to wait for its
/// digest.
async fn decide(session: &mut Session, version: &OpenVersion) -> Result<Option<Vec<Decided>>> {
    let without = |decision, policy: Option<&Policy>, detail: Option<String>| Decided {
        decision,
        policy: policy.map(|policy| policy.id),
        rollout: None,
        detail,
    };
    if version.replaced {
        let detail = "a newer version of the tag came before it was planned".to_owned();
        return Ok(Some(vec![without(
            PlanDecision::Replaced,
            None,
            Some(detail),
        )]));
    }
    let policies = policies::all(session).await?;
    let deciding = match matching::deciding(&policies, &version.repository, &version.tag) {
        Ok(deciding) => deciding,
        Err(none) => {
            let detail = Some(none.to_string());
            return Ok(Some(vec![without(PlanDecision::NoPolicy, None, detail)]));
        }
    };
    // A version is planned once, for all of them: so all of them wait if one does.
    let waits = |policy: &&Policy| policy.spec.on_unresolved == OnUnresolved::Wait;
    if version.digest.is_none() && deciding.iter().any(waits) {
        return Ok(None);
    }
    let (tag, digest) = (Some(version.tag.as_str()), version.digest.as_ref());
    if let Some(detail) = banned(session, &version.repository, tag, digest).await? {
        let first = deciding.first().copied();
        return Ok(Some(vec![without(
            PlanDecision::Quarantined,
            first,
            Some(detail),
        )]));
    }
    let mut decided = Vec::with_capacity(deciding.len());
    let mut taken: Vec<Filters> = Vec::new();
    for policy in deciding {
        let wanted = Wanted {
            repository: &version.repository,
            tag: Some(&version.tag),
            digest: version.digest.as_ref(),
            tag_rule: policy.spec.tag.clone(),
            filters: &policy.spec.filters,
            without: taken.clone(),
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
        };
        decided.push(match create(session, &wanted).await? {
            Made::Rollout(id) => Decided {
                decision: PlanDecision::Rollout,
                policy: Some(policy.id),
                rollout: Some(id),
                detail: None,
            },
            Made::Downgrade(detail) => without(PlanDecision::Downgrade, Some(policy), Some(detail)),
            Made::NoDevices(detail) => without(PlanDecision::NoDevices, Some(policy), Some(detail)),
            // Only triggers have plans.
            Made::PlanChanged(detail) => {
                without(PlanDecision::NoDevices, Some(policy), Some(detail))
            }
        });
        taken.push(policy.spec.filters.clone());
    }
    Ok(Some(decided))
}
