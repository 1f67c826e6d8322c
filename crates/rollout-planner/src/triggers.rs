//! Rollouts that operators ask for by hand.

use crate::create::{Made, Origin, Wanted, banned, create};
use crate::metrics::Metrics;
use crate::{NAME, PAGE};
use serde_json::json;
use windlass_core::signatures::{ByHand, by_hand};
use windlass_service::Deps;
use windlass_store::image_facts::{About, Known};
use windlass_store::plans::{self, OpenTrigger};
use windlass_store::{Error, Result, Session, events, image_facts, policies};
use windlass_types::api::{TriggerDecision, WaitReason};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{RolloutId, TriggerId};
use windlass_types::image::ImageReference;
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
    // With a reader first: what waits comes again with each pass, and a writer costs others their turn.
    let mut read = deps.store.read().await?;
    let waits = match plans::open_trigger(&mut read, id).await? {
        Some(trigger) => matches!(look(&mut read, &trigger, attempts).await?, Look::Waits),
        None => true,
    };
    drop(read);
    if waits {
        return Ok(());
    }
    let mut tx = deps.store.begin_snapshot().await?;
    let Some(trigger) = plans::take_trigger(&mut tx, id).await? else {
        return tx.rollback().await;
    };
    let (signed_by, vouched, refused) = match look(&mut tx, &trigger, attempts).await? {
        Look::Waits => return tx.rollback().await,
        Look::Asks(about) => {
            // The trigger comes again.
            ask(&mut tx, &trigger, about).await?;
            return deps.commit(tx).await;
        }
        Look::Signed(key) => (key, None, None),
        Look::Vouched(why) => (None, Some(why), None),
        Look::Refused(why) => (None, None, Some(why)),
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
    if let (true, Some(digest)) = (trigger.asked_signatures, &trigger.digest) {
        image_facts::stop_signatures(&mut tx, &trigger.repository, digest).await?;
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

/// How a rollout by hand stands with what its image's registry tells.
enum Look {
    /// No signature is required, or it is signed; with the fingerprint of the key.
    Signed(Option<String>),
    /// It is not signed, and whoever asked vouches for it.
    Vouched(String),
    /// It is not signed.
    Refused(String),
    /// The registry is asked.
    Waits,
    /// The registry has to be asked, and is not.
    Asks(About),
}

/// Looks at what is known, and writes nothing.
async fn look(session: &mut Session, trigger: &OpenTrigger, attempts: i64) -> Result<Look> {
    let known = match &trigger.digest {
        Some(digest) => image_facts::get(session, &trigger.repository, digest).await?,
        None => None,
    };
    match platforms(session, trigger, known.as_ref(), attempts).await? {
        Some(waits) => Ok(waits),
        None => signed(session, trigger, known.as_ref()).await,
    }
}

/// Whether a registry has still to tell what an image runs on, and there are devices for which that matters; none where
/// not. Beyond so many attempts it is shipped all the same.
async fn platforms(
    session: &mut Session,
    trigger: &OpenTrigger,
    known: Option<&Known>,
    attempts: i64,
) -> Result<Option<Look>> {
    if trigger.digest.is_none() || image_facts::platforms(session).await?.is_empty() {
        return Ok(None);
    }
    let Some(known) = known else {
        return Ok(Some(Look::Asks(About::Facts)));
    };
    let waits = known.facts.is_none() && known.next_ask_at.is_some() && known.attempts < attempts;
    Ok(waits.then_some(Look::Waits))
}

/// Whether the image is signed as policies about it require. What was told before the rollout was asked for counts
/// where it is good; else the registry is asked anew, since people sign and ship in one go.
async fn signed(
    session: &mut Session,
    trigger: &OpenTrigger,
    known: Option<&Known>,
) -> Result<Look> {
    let (repository, tag) = (&trigger.repository, trigger.tag.as_deref());
    let digest = trigger.digest.as_ref();
    let policies = policies::enabled(session).await?;
    let found = known.and_then(|known| known.signatures.as_ref());
    let why = match by_hand(&policies, repository, tag, digest, found) {
        ByHand::Signed(key) => return Ok(Look::Signed(key)),
        ByHand::Refused(why) if trigger.allow_unsigned => return Ok(Look::Vouched(why)),
        ByHand::Untold if trigger.allow_unsigned => {
            let why = "a policy requires a signature, and its registry was not asked for one";
            return Ok(Look::Vouched(why.to_owned()));
        }
        ByHand::Refused(why) => Some(why),
        ByHand::Untold => None,
    };
    if digest.is_none() {
        return Ok(Look::Refused(why.unwrap_or_default()));
    }
    let told_at = known.and_then(|known| known.signatures_at);
    let fresh = told_at.is_some_and(|at| at >= trigger.created_at);
    if let (true, Some(why)) = (fresh, why) {
        return Ok(Look::Refused(why));
    }
    let asked = known.is_some_and(|known| known.next_signature_at.is_some());
    Ok(if trigger.asked_signatures && asked {
        Look::Waits
    } else {
        Look::Asks(About::Signatures)
    })
}

/// Has the registry asked, and tells that the rollout waits for it: whoever asks registries listens for that.
async fn ask(session: &mut Session, trigger: &OpenTrigger, about: About) -> Result<()> {
    let (repository, Some(digest)) = (&trigger.repository, &trigger.digest) else {
        return Ok(());
    };
    image_facts::want(session, repository, digest, trigger.correlation, false).await?;
    let (reason, detail) = match about {
        About::Facts => (
            WaitReason::PlatformsUnknown,
            "its registry is asked what it runs on",
        ),
        About::Signatures => {
            let detail = "its registry is asked for the signature that a policy requires";
            image_facts::hurry_signatures(session, repository, digest).await?;
            plans::trigger_asks_signatures(session, trigger.id, detail).await?;
            (WaitReason::SignatureUnknown, detail)
        }
    };
    let image = ImageReference::of(repository, trigger.tag.as_deref(), Some(digest));
    let event = NewEvent::new(EventType::UpdateWaits, NAME)
        .subject(&image)
        .correlation(Some(trigger.correlation))
        .data(json!({
            "image": image,
            "trigger_id": trigger.id,
            "ordered_by": trigger.actor,
            "reason": reason,
            "detail": detail,
        }));
    events::append(session, event).await?;
    Ok(())
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
