//! Failure budgets: a rollout beyond one is paused, its digest goes into quarantine where the image is
//! to blame, and its rule's action follows; a class of devices beyond its own is left out.

use crate::NAME;
use crate::back::{self, Asked, image_of};
use crate::each::Trouble;
use serde_json::{Value, json};
use windlass_core::budget::{Exceeded, exceeded};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::quarantine::{self, Class};
use windlass_store::rollbacks::{self, Which};
use windlass_store::{Result, Session, events, rollouts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::RolloutId;
use windlass_types::image::Digest;
use windlass_types::policy::FailureAction;
use windlass_types::rollout::{Rollout, RolloutStatus, StatusReason};

/// Failures kept as evidence beside a quarantine: enough to see what they have in common.
const SAMPLE: i64 = 5;

/// Why devices are put back that a budget is used up for.
const BEYOND: &str = "beyond_budget";

/// Pauses each running rollout that is beyond a budget, and puts the digest of each whose image is to
/// blame into quarantine, whether it still runs or was stopped, overtaken or completed before.
///
/// # Errors
/// Whatever the store says; rollouts paused before stay paused.
pub async fn run(deps: &Deps, _group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let (mut over, mut within) = (Vec::new(), Vec::new());
    let mut trouble = Trouble::default();
    // Before anything is counted: what the log tells up to here is in what is counted.
    let seen = events::head(&mut read).await?;
    for found in rollbacks::rollouts_with_failures(&mut read).await? {
        let id = found.id;
        match trouble.note(id, is_over(&mut read, id).await) {
            Some(true) => over.push(id),
            Some(false) if !found.running => within.push(id),
            Some(false) | None => {}
        }
    }
    let late = rollbacks::rollouts_with_late_failures(&mut read).await?;
    drop(read);
    if !within.is_empty() {
        let mut tx = deps.store.begin().await?;
        rollbacks::counted(&mut tx, &within, seen).await?;
        deps.commit(tx).await?;
    }
    for id in over {
        trouble.note(id, stop(deps, id).await);
    }
    for id in late {
        trouble.note(id, order_late(deps, id).await);
    }
    trouble.end(Next::Idle)
}

/// Devices that fail once their rollout is paused for its budget go the way of those that failed before,
/// and so do those for which the digest went into quarantine meanwhile: for their class, or while a
/// person had the rollout paused.
async fn order_late(deps: &Deps, id: RolloutId) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let Some(rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(());
    };
    let which = match rollout.status {
        RolloutStatus::Paused if rollout.status_reason.is_some_and(is_budget) => Which::Failed,
        RolloutStatus::Paused | RolloutStatus::InProgress => Which::FailedInQuarantine,
        _ => return Ok(()),
    };
    rollbacks::order(&mut tx, id, which, None, BEYOND).await?;
    deps.commit(tx).await
}

/// Whether a rollout with this reason was paused because a budget was used up that its action is for.
const fn is_budget(reason: StatusReason) -> bool {
    matches!(
        reason,
        StatusReason::FailureRate | StatusReason::ConsecutiveFailures | StatusReason::WentSilent
    )
}

async fn is_over(session: &mut Session, id: RolloutId) -> Result<bool> {
    Ok(match rollouts::get(session, id).await? {
        Some(rollout) => judge(session, &rollout).await?.is_some_and(|found| {
            // Of one that no longer runs only its image is judged.
            found.blames_image() || rollout.status == RolloutStatus::InProgress
        }),
        None => false,
    })
}

/// Whether a rollout is beyond a budget.
async fn judge(session: &mut Session, rollout: &Rollout) -> Result<Option<Exceeded>> {
    let failures = rollouts::failure_count(session, rollout).await?;
    // A batch that has ended stays so for its budget when a device of it is tried again: the planner
    // admits nobody meanwhile, and would wait for this for ever.
    let ended = rollout.next_batch_at.is_some()
        || rollbacks::batch_ended(session, rollout.id, rollout.current_batch).await?;
    Ok(exceeded(
        &failures,
        &rollout.rule.failure,
        rollout.current_batch,
        ended,
    ))
}

async fn stop(deps: &Deps, id: RolloutId) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let Some(mut rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(());
    };
    let mut told = Vec::new();
    // Under the lock: it may have been resumed or paused meanwhile. A class that is held apart is no
    // longer counted, so the others are judged without it.
    while let Some(found) = judge(&mut tx, &rollout).await? {
        let Some(done) = carry_out(&mut tx, &mut rollout, &found).await? else {
            return tx.rollback().await;
        };
        if !done {
            break;
        }
        let again = found.class.is_some();
        told.push(found);
        if !again {
            break;
        }
    }
    if told.is_empty() {
        return tx.rollback().await;
    }
    deps.commit(tx).await?;
    for found in told {
        tracing::warn!(
            rollout.id = %id,
            image = %image_of(&rollout),
            reason = %found.reason,
            detail = found.detail,
            class = found.class,
            status = %rollout.status,
            "a rollout went beyond its failure budget"
        );
    }
    Ok(())
}

/// Does what follows. Returns whether anything did; none where the rollout was changed meanwhile.
async fn carry_out(
    tx: &mut Session,
    rollout: &mut Rollout,
    found: &Exceeded,
) -> Result<Option<bool>> {
    let was = rollout.status;
    let running = was == RolloutStatus::InProgress;
    let mut done = false;
    let digest = rollouts::shipped_digest(tx, rollout.id).await?;
    if found.blames_image()
        && let Some(digest) = &digest
    {
        done = condemn(tx, rollout, found, digest).await?;
    }
    // Without a digest a class cannot be held apart: then it is the whole rollout's.
    if let Some(class) = class_of(rollout, found).filter(|_| digest.is_some()) {
        if done && (running || was == RolloutStatus::Paused) {
            take_class_back(tx, rollout, &class).await?;
        }
        return Ok(Some(done));
    }
    // Operators who paused it before still want what the rule says done.
    let acts = running || (was == RolloutStatus::Paused && done);
    if acts && !act(tx, rollout, found, running).await? {
        return Ok(None);
    }
    Ok(Some(done || acts))
}

fn class_of(rollout: &Rollout, found: &Exceeded) -> Option<Class> {
    Some(Class {
        key: rollout.rule.failure.quarantine_by.clone()?,
        value: found.class.clone()?,
    })
}

/// What the rollout's rule wants done beside the pause. Failures of the environment only pause it.
fn action(rollout: &Rollout, found: &Exceeded) -> FailureAction {
    if found.reason == StatusReason::EnvironmentFailures {
        FailureAction::Pause
    } else {
        rollout.rule.failure.action
    }
}

/// Pauses the rollout, if it runs, and puts back whom its rule wants put back. False where it was
/// changed meanwhile.
async fn act(
    tx: &mut Session,
    rollout: &mut Rollout,
    found: &Exceeded,
    running: bool,
) -> Result<bool> {
    let asked = Asked {
        actor: NAME,
        reason: found.reason,
        detail: &found.detail,
    };
    let action = action(rollout, found);
    let which = match action {
        FailureAction::RollbackAll => return back::whole(tx, rollout, &asked).await,
        FailureAction::Pause => None,
        FailureAction::RollbackFailed => Some(Which::Failed),
        FailureAction::RollbackBatch => {
            Some(Which::Batch(found.batch.unwrap_or(rollout.current_batch)))
        }
    };
    let devices = match which {
        Some(which) => rollbacks::order(tx, rollout.id, which, None, BEYOND).await?,
        None => 0,
    };
    if !running {
        return Ok(true);
    }
    let data = json!({"image": image_of(rollout), "action": action, "devices": devices});
    back::pause(tx, rollout, &asked, data).await
}

/// The same for the devices of a class, which are no longer in it; the rollout goes on.
async fn take_class_back(tx: &mut Session, rollout: &Rollout, class: &Class) -> Result<()> {
    let which = match rollout.rule.failure.action {
        FailureAction::Pause => return Ok(()),
        FailureAction::RollbackFailed => Which::Failed,
        FailureAction::RollbackBatch => Which::Batch(rollout.current_batch),
        FailureAction::RollbackAll => Which::All,
    };
    rollbacks::order(tx, rollout.id, which, Some(class), BEYOND).await?;
    Ok(())
}

/// Puts the digest into quarantine, with the evidence. False where it is there already.
async fn condemn(
    tx: &mut Session,
    rollout: &Rollout,
    found: &Exceeded,
    digest: &Digest,
) -> Result<bool> {
    let class = class_of(rollout, found);
    let failures = rollbacks::failed_sample(tx, rollout.id, class.as_ref(), SAMPLE).await?;
    let image = image_of(rollout);
    let about = json!({
        "rollout_id": rollout.id,
        "image": image,
        "digest": digest,
        "tag_key": class.as_ref().map(|class| &class.key),
        "tag_value": class.as_ref().map(|class| &class.value),
        "reason": found.reason,
        "detail": found.detail,
        "batch": found.batch.unwrap_or(rollout.current_batch),
    });
    let mut evidence = about.clone();
    if let Value::Object(evidence) = &mut evidence {
        evidence.insert("latest_failures".to_owned(), Value::Array(failures));
    }
    let (repository, id) = (&rollout.repository, rollout.id);
    let detail = &found.detail;
    let new = match &class {
        Some(class) => {
            quarantine::add_for_class(tx, digest, class, repository, id, detail, evidence).await?
        }
        None => quarantine::add(tx, digest, repository, Some(id), detail, evidence).await?,
    };
    if new {
        let event = NewEvent::new(EventType::Quarantined, NAME)
            .rollout(rollout.id, rollout.correlation_id)
            .subject(&image)
            .data(about);
        events::append(tx, event).await?;
    }
    Ok(new)
}
