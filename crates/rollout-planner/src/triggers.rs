//! Rollouts that operators ask for by hand.

use crate::create::{Made, Origin, Wanted, banned, create};
use crate::metrics::Metrics;
use crate::ready::SIGNED_WITHIN;
use crate::{NAME, PAGE};
use serde_json::json;
use windlass_core::signatures::{ByHand, by_hand};
use windlass_service::Deps;
use windlass_store::plans::{self, OpenTrigger};
use windlass_store::{Error, Result, Session, events, image_facts, policies};
use windlass_types::api::TriggerDecision;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{RolloutId, TriggerId};
use windlass_types::policy::TagRule;

/// Makes every rollout by hand that can be made, oldest first. One that fails does not keep the
/// others waiting; the failure is returned at the end, and it is tried again.
pub async fn run(deps: &Deps, metrics: &Metrics, attempts: i64) -> Result<()> {
    let mut failed = Ok(());
    let mut after = None;
    loop {
        let mut read = deps.store.read().await?;
        let page = plans::open_triggers(&mut read, attempts, after, PAGE).await?;
        drop(read);
        for id in &page {
            match plan(deps, metrics, *id, attempts).await {
                Ok(()) => {}
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

async fn plan(deps: &Deps, metrics: &Metrics, id: TriggerId, attempts: i64) -> Result<()> {
    let mut tx = deps.store.begin_snapshot().await?;
    let Some(trigger) = plans::take_trigger(&mut tx, id).await? else {
        return tx.rollback().await;
    };
    if waits_for_platforms(&mut tx, &trigger, attempts).await? {
        // What is to be asked is written down; the trigger comes again.
        return deps.commit(tx).await;
    }
    let (signed_by, vouched) = match signed(&mut tx, &trigger).await? {
        Signed::Waits => return deps.commit(tx).await,
        Signed::By(key) => (key, Ok(None)),
        Signed::Vouched(why) => (None, Ok(Some(why))),
        Signed::Refused(why) => (None, Err(why)),
    };
    let (vouched, refused) = match vouched {
        Ok(vouched) => (vouched, None),
        Err(why) => (None, Some(why)),
    };
    // An operator names the image, so every service on its repository is moved, whatever its tag.
    let wanted = Wanted {
        repository: &trigger.repository,
        tag: trigger.tag.as_deref(),
        digest: trigger.digest.as_ref(),
        tag_rule: TagRule::default(),
        filters: &trigger.filters,
        rule: trigger.rule.clone(),
        without: Vec::new(),
        priority: trigger.priority,
        origin: Origin::Trigger(id),
        plan: trigger.plan,
        correlation: trigger.correlation,
        by: trigger.actor.clone(),
        signed_by,
        vouched,
    };
    let (decision, rollout, detail) = match refused {
        Some(why) => (TriggerDecision::Unsigned, None, Some(why)),
        None => decide(&mut tx, &trigger, &wanted).await?,
    };
    if !plans::settle_trigger(&mut tx, id, decision, rollout, detail.as_deref()).await? {
        return tx.rollback().await;
    }
    let image = wanted.image();
    if rollout.is_none() {
        let event = NewEvent::new(EventType::UpdateIgnored, NAME)
            .subject(&image)
            .correlation(Some(trigger.correlation))
            .data(json!({
                "image": image,
                "reason": decision,
                "detail": detail,
                "trigger_id": id,
                "ordered_by": trigger.actor,
            }));
        events::append(&mut tx, event).await?;
    }
    deps.commit(tx).await?;
    metrics
        .decisions
        .with_label_values(&[decision.as_str()])
        .inc();
    tracing::info!(
        image = %image,
        decision = %decision,
        detail,
        by = trigger.actor,
        "a rollout by hand was planned"
    );
    Ok(())
}

/// Whether a registry has still to tell what an image runs on, and there are devices for which that
/// matters. Beyond so many attempts it is shipped all the same.
async fn waits_for_platforms(
    session: &mut Session,
    trigger: &OpenTrigger,
    attempts: i64,
) -> Result<bool> {
    let Some(digest) = &trigger.digest else {
        return Ok(false);
    };
    if image_facts::platforms(session).await?.is_empty() {
        return Ok(false);
    }
    let repository = &trigger.repository;
    image_facts::want(session, repository, digest, trigger.correlation, false).await?;
    let known = image_facts::get(session, repository, digest).await?;
    Ok(known.is_some_and(|known| {
        known.facts.is_none() && known.next_ask_at.is_some() && known.attempts < attempts
    }))
}

/// What signatures say of an image that somebody wants to ship.
enum Signed {
    /// None is required, or it is signed; with the fingerprint of the key.
    By(Option<String>),
    /// It is not, and whoever asked vouches for it.
    Vouched(String),
    /// It is not.
    Refused(String),
    /// The registry is asked.
    Waits,
}

/// Whether the image is signed as policies about it require. What was told before the rollout was asked for counts
/// where it is good; else the registry is asked anew, since people sign and ship in one go.
async fn signed(session: &mut Session, trigger: &OpenTrigger) -> Result<Signed> {
    let (repository, tag) = (&trigger.repository, trigger.tag.as_deref());
    let digest = trigger.digest.as_ref();
    let policies = policies::enabled(session).await?;
    let known = match digest {
        Some(digest) => image_facts::get(session, repository, digest).await?,
        None => None,
    };
    let told_at = known.as_ref().and_then(|known| known.signatures_at);
    let found = known.as_ref().and_then(|known| known.signatures.as_ref());
    let why = match by_hand(&policies, repository, tag, digest, found) {
        ByHand::Signed(key) => return Ok(Signed::By(key)),
        ByHand::Refused(why) if trigger.allow_unsigned => return Ok(Signed::Vouched(why)),
        ByHand::Untold if trigger.allow_unsigned => {
            let why = "a policy requires a signature, and its registry was not asked for one";
            return Ok(Signed::Vouched(why.to_owned()));
        }
        ByHand::Refused(why) => Some(why),
        ByHand::Untold => None,
    };
    let (Some(digest), fresh) = (digest, told_at.is_some_and(|at| at >= trigger.created_at)) else {
        return Ok(Signed::Refused(why.unwrap_or_default()));
    };
    if let (true, Some(why)) = (fresh, why) {
        return Ok(Signed::Refused(why));
    }
    if !trigger.asked_signatures {
        let until = session.now() + SIGNED_WITHIN;
        image_facts::want(session, repository, digest, trigger.correlation, false).await?;
        image_facts::hurry_signatures(session, repository, digest, until).await?;
        let detail = "its registry is asked for the signature that a policy requires";
        plans::trigger_asks_signatures(session, trigger.id, detail).await?;
    }
    Ok(Signed::Waits)
}

async fn decide(
    session: &mut Session,
    trigger: &OpenTrigger,
    wanted: &Wanted<'_>,
) -> Result<(TriggerDecision, Option<RolloutId>, Option<String>)> {
    let (tag, digest) = (trigger.tag.as_deref(), trigger.digest.as_ref());
    if let Some(detail) = banned(session, &trigger.repository, tag, digest).await? {
        return Ok((TriggerDecision::Quarantined, None, Some(detail)));
    }
    Ok(match create(session, wanted).await? {
        Made::Rollout(id) => (TriggerDecision::Rollout, Some(id), None),
        Made::PlanChanged(detail) => (TriggerDecision::PlanChanged, None, Some(detail)),
        Made::NoDevices(detail) | Made::Downgrade(detail) => {
            (TriggerDecision::NoDevices, None, Some(detail))
        }
    })
}
