//! Moving rollouts on: commands, batches, delays, ends.

use crate::metrics::Metrics;
use crate::{NAME, batch};
use serde_json::{Value, json};
use std::time::Duration;
use windlass_core::plan::{Edge, Input, Plan, plan};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::rollouts;
use windlass_store::{Error, Result, Session, commands, events};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::facts::RolloutFacts;
use windlass_types::ids::RolloutId;
use windlass_types::image::ImageReference;
use windlass_types::rollout::{BatchProgress, Command, CommandOutcome, Rollout, SkipReason};

/// Moves every rollout on that can move. One that fails does not hold the others up; the failure is
/// returned at the end, and it is tried again.
pub async fn run(deps: &Deps, metrics: &Metrics) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let ids = rollouts::moving(&mut read).await?;
    drop(read);
    let (mut moved, mut failed) = (false, None);
    for id in ids {
        match step(deps, metrics, id).await {
            Ok(did) => moved |= did,
            Err(Error::Conflict(_)) => {
                metrics.conflicts.inc();
                moved = true;
            }
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let mut read = deps.store.read().await?;
    metrics.show_active(&rollouts::active_by_status(&mut read).await?);
    if moved {
        return Ok(Next::Again);
    }
    Ok(match rollouts::next_due(&mut read).await? {
        // A little late rather than a little early: the database's clock may be behind.
        Some(due) => {
            Next::After((due - read.now()).to_std().unwrap_or_default() + Duration::from_millis(10))
        }
        None => Next::Idle,
    })
}

/// What the core makes of the facts now.
fn planned(facts: &RolloutFacts, session: &Session) -> Plan {
    plan(&Input {
        facts,
        now: session.now(),
    })
}

/// Moves one rollout on as far as it goes, in one transaction. Returns whether it moved.
async fn step(deps: &Deps, metrics: &Metrics, id: RolloutId) -> Result<bool> {
    // Looked at without a lock first: most rollouts that may move wait for something.
    let mut read = deps.store.read().await?;
    let idle = match rollouts::facts(&mut read, id).await? {
        Some(facts) => planned(&facts, &read).is_idle(),
        None => true,
    };
    drop(read);
    if idle {
        return Ok(false);
    }
    let mut tx = deps.store.begin().await?;
    // The rollout's row before anything else: a pause or command that committed before is seen
    // below, one that comes later waits for this transaction.
    rollouts::lock(&mut tx, id).await?;
    let Some(facts) = rollouts::facts(&mut tx, id).await? else {
        return Ok(false);
    };
    let plan = planned(&facts, &tx);
    if plan.is_idle() {
        tx.rollback().await?;
        return Ok(false);
    }
    if !plan.edges.is_empty() && !rollouts::save(&mut tx, &plan.after).await? {
        tx.rollback().await?;
        return Ok(true);
    }
    let mut admitted = 0;
    let mut orders = orders(&facts, &plan).into_iter();
    for edge in &plan.edges {
        admitted += carry_out(&mut tx, &facts, &plan.after, edge, &mut orders).await?;
    }
    for settled in &plan.settled {
        let detail = settled.detail.as_deref();
        commands::settle(&mut tx, settled.command, settled.outcome, detail, NAME).await?;
    }
    deps.commit(tx).await?;
    metrics.admitted.inc_by(admitted);
    for edge in &plan.edges {
        metrics.steps.with_label_values(&[edge.name()]).inc();
    }
    tracing::info!(
        rollout.id = %id,
        steps = ?plan.edges.iter().map(Edge::name).collect::<Vec<_>>(),
        status = %plan.after.status,
        batch = plan.after.current_batch,
        admitted,
        waits_for = plan.waits_for.map(|wait| wait.to_string()),
        "a rollout moved on"
    );
    Ok(true)
}

/// The commands that are applied, in the order of the edges they lead to.
fn orders<'f>(facts: &'f RolloutFacts, plan: &Plan) -> Vec<&'f Command> {
    let applied = plan
        .settled
        .iter()
        .filter(|s| s.outcome == CommandOutcome::Applied);
    applied
        .filter_map(|settled| facts.commands.iter().find(|c| c.id == settled.command))
        .collect()
}

/// Does what a step means beside the rollout's own row. Returns how many devices were admitted.
async fn carry_out<'f>(
    tx: &mut Session,
    facts: &RolloutFacts,
    after: &Rollout,
    edge: &Edge,
    orders: &mut impl Iterator<Item = &'f Command>,
) -> Result<u64> {
    let image = ImageReference::of(
        &after.repository,
        after.tag.as_deref(),
        after.digest.as_ref(),
    );
    let event = |kind, data| {
        NewEvent::new(kind, NAME)
            .rollout(after.id, after.correlation_id)
            .subject(&image)
            .data(data)
    };
    // Steps that come from a command are told as the operator's.
    let ordered = |event: NewEvent, order: Option<&Command>| NewEvent {
        actor: order.map_or_else(|| NAME.to_owned(), |command| command.actor.clone()),
        ..event
    };
    let order = edge.is_ordered().then(|| orders.next()).flatten();
    let told = match edge {
        Edge::BatchStarted { batch } => {
            batch::open(tx, after, *batch, &facts.batches, &image).await?;
            return Ok(0);
        }
        Edge::Admitted { batch, .. } => return batch::admit(tx, after, *batch, &image).await,
        Edge::BatchCompleted {
            batch,
            next_batch_at,
        } => {
            let mut data = counts(&facts.batches, *batch);
            data["next_batch_at"] = json!(next_batch_at);
            event(EventType::RolloutBatchCompleted, data)
        }
        Edge::Completed => event(
            EventType::RolloutCompleted,
            json!({"devices": after.total_devices, "batches": facts.batches}),
        ),
        Edge::Paused { reason, detail } => {
            let data = json!({"reason": reason, "detail": detail, "batch": after.current_batch});
            ordered(event(EventType::RolloutPaused, data), order)
        }
        Edge::Resumed { waives, .. } => {
            rollouts::restart_failure_count(tx, after.id).await?;
            let data =
                json!({"detail": order.map(|command| command.reason.clone()), "waives": waives});
            ordered(event(EventType::RolloutResumed, data), order)
        }
        Edge::Cancelled { detail } => {
            let skipped = rollouts::skip_pending(tx, after.id, SkipReason::RolloutEnded).await?;
            let data = json!({"detail": detail, "skipped": skipped, "batch": after.current_batch});
            ordered(event(EventType::RolloutCancelled, data), order)
        }
        Edge::Waiting { status } => event(EventType::RolloutWaiting, json!({"status": status})),
        Edge::Approved { batch, reason, .. } => {
            let data = json!({"batch": batch, "detail": reason});
            ordered(event(EventType::RolloutApproved, data), order)
        }
        Edge::DelayCut { batch } => {
            let data = json!({"batch": batch, "next_batch_at": after.next_batch_at});
            ordered(event(EventType::RolloutDelayCut, data), order)
        }
        Edge::FreezeOverridden { detail } => {
            let data = json!({"detail": detail});
            ordered(event(EventType::FreezeOverridden, data), order)
        }
        // The command's own event tells it.
        Edge::Retried { .. } => return Ok(0),
        Edge::RollbackOrdered { .. } => return Ok(0),
    };
    events::append(tx, told.stands(after)).await?;
    Ok(0)
}

fn counts(batches: &[BatchProgress], batch: i64) -> Value {
    let found = batches.iter().find(|progress| progress.batch == batch);
    json!(found.cloned().unwrap_or_default())
}
