//! Moving rollouts on: commands, batches, delays, ends.

use crate::metrics::Metrics;
use crate::ready::SIGNED_WITHIN;
use crate::{NAME, batch, retry};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::time::Duration;
use windlass_core::plan::{Edge, Input, Plan, plan};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::commands::{self, NewCommand};
use windlass_store::rollouts::{self, SliceOf};
use windlass_store::{Error, Result, Session, admissions, events, image_facts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::facts::RolloutFacts;
use windlass_types::ids::{CommandId, RolloutId};
use windlass_types::image::ImageReference;
use windlass_types::rollout::{
    BatchProgress, Command, CommandKind, CommandOutcome, Rollout, SkipReason, StatusReason,
};

/// Moves every rollout on that can move. One that fails does not hold the others up; the failure is
/// returned at the end, and it is tried again.
pub async fn run(deps: &Deps, metrics: &Metrics) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let ids = rollouts::moving(&mut read).await?;
    drop(read);
    let (mut moved, mut failed, mut until) = (false, None, None);
    for id in ids {
        match step(deps, metrics, id).await {
            Ok(Stepped::Moved) => moved = true,
            Ok(Stepped::Waits(at)) => until = until.into_iter().chain(at).min(),
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
    let now = read.now();
    let due = rollouts::next_due(&mut read).await?;
    // What a plan waits for may be over since it was made; the next look is then at once.
    Ok(match due.into_iter().chain(until).min() {
        // A little late rather than a little early: the database's clock may be behind.
        Some(due) => {
            Next::After((due - now).to_std().unwrap_or_default() + Duration::from_millis(10))
        }
        None => Next::Idle,
    })
}

/// What came of looking at a rollout.
enum Stepped {
    /// It moved.
    Moved,
    /// It did not; when what it waits for ends by itself, where that is known.
    Waits(Option<DateTime<Utc>>),
}

/// What the core makes of the facts now.
fn planned(facts: &RolloutFacts, session: &Session) -> Plan {
    plan(&Input {
        facts,
        now: session.now(),
    })
}

/// Moves one rollout on as far as it goes, in one transaction.
async fn step(deps: &Deps, metrics: &Metrics, id: RolloutId) -> Result<Stepped> {
    // Whiched at without a lock first: most rollouts that may move wait for something.
    let mut read = deps.store.read().await?;
    let Some(facts) = rollouts::facts(&mut read, id).await? else {
        return Ok(Stepped::Waits(None));
    };
    let looked = planned(&facts, &read);
    if looked.is_idle() {
        return Ok(Stepped::Waits(
            looked.waits_for.and_then(|wait| wait.until()),
        ));
    }
    drop(read);
    let mut tx = deps.store.begin().await?;
    // The rollout's row before anything else: a pause or command that committed before is seen
    // below, one that comes later waits for this transaction.
    let Some(rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(Stepped::Waits(None));
    };
    rollouts::lock_limits(&mut tx, &rollout).await?;
    admissions::join(&mut tx).await?;
    // The waits may have been long: a window may have closed or a freeze begun meanwhile.
    tx.refresh().await?;
    let Some(facts) = rollouts::facts(&mut tx, id).await? else {
        return Ok(Stepped::Waits(None));
    };
    let plan = planned(&facts, &tx);
    if plan.is_idle() {
        tx.rollback().await?;
        return Ok(Stepped::Waits(plan.waits_for.and_then(|wait| wait.until())));
    }
    if !plan.edges.is_empty() && !rollouts::save(&mut tx, &plan.after).await? {
        tx.rollback().await?;
        return Ok(Stepped::Moved);
    }
    let mut done = Done::default();
    let mut orders = orders(&facts, &plan).into_iter();
    for edge in &plan.edges {
        done.add(carry_out(&mut tx, &facts, &plan.after, edge, &mut orders).await?);
    }
    if plan.settled.is_empty() && !done.something {
        // Whoever could be admitted is gone meanwhile: nothing to write down.
        tx.rollback().await?;
        return Ok(Stepped::Waits(None));
    }
    let admitted = done.admitted;
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
    Ok(Stepped::Moved)
}

/// What steps did.
#[derive(Debug, Clone, Copy, Default)]
struct Done {
    admitted: u64,
    /// Whether anything changed.
    something: bool,
}

impl Done {
    const fn told() -> Self {
        Self {
            admitted: 0,
            something: true,
        }
    }

    const fn add(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.something |= other.something;
    }
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

/// Does what a step means beside the rollout's own row.
async fn carry_out<'f>(
    tx: &mut Session,
    facts: &RolloutFacts,
    after: &Rollout,
    edge: &Edge,
    orders: &mut impl Iterator<Item = &'f Command>,
) -> Result<Done> {
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
            return Ok(Done::told());
        }
        Edge::Admitted {
            batch,
            at_most,
            time_zones,
        } => {
            let of = SliceOf {
                batch: *batch,
                at_most: *at_most,
                time_zones: time_zones.as_deref(),
            };
            let done = batch::admit(tx, after, &of, &image).await?;
            return Ok(Done {
                admitted: done.scheduled,
                something: done.scheduled + done.skipped > 0,
            });
        }
        Edge::BatchCompleted {
            batch,
            next_batch_at,
        } => {
            let mut data = counts(&facts.batches, *batch);
            data["next_batch_at"] = json!(next_batch_at);
            event(EventType::RolloutBatchCompleted, data)
        }
        Edge::Completed | Edge::Failed { .. } => {
            // Nobody is left to wait for; but whoever still was to be tried again is let go.
            let skipped = rollouts::skip_pending(tx, after, SkipReason::RolloutEnded, NAME).await?;
            let devices = after.total_devices;
            let mut data =
                json!({"devices": devices, "batches": facts.batches, "skipped": skipped});
            if let Edge::Failed { detail } = edge {
                data["detail"] = json!(detail);
                event(EventType::RolloutFailed, data)
            } else {
                event(EventType::RolloutCompleted, data)
            }
        }
        Edge::Paused { reason, detail } => {
            if let (StatusReason::Unsigned, Some(digest)) = (reason, &after.digest) {
                // The policy may want signatures since after it was planned.
                let (of, correlation) = (&after.repository, after.correlation_id);
                image_facts::want(tx, of, digest, correlation, false).await?;
                let until = tx.now() + SIGNED_WITHIN;
                image_facts::want_signatures(tx, of, digest, until, image_facts::Which::Anew)
                    .await?;
            }
            let data = json!({"reason": reason, "detail": detail, "batch": after.current_batch});
            ordered(event(EventType::RolloutPaused, data), order)
        }
        Edge::Resumed { waives, actor } => {
            rollouts::restart_failure_count(tx, after.id).await?;
            if let Some(batch) = waives {
                rollouts::waive_checks(tx, after.id, *batch, actor).await?;
            }
            let data =
                json!({"detail": order.map(|command| command.reason.clone()), "waives": waives});
            ordered(event(EventType::RolloutResumed, data), order)
        }
        Edge::Cancelled { detail } => {
            let skipped = rollouts::skip_pending(tx, after, SkipReason::RolloutEnded, NAME).await?;
            let data = json!({"detail": detail, "skipped": skipped, "batch": after.current_batch});
            ordered(event(EventType::RolloutCancelled, data), order)
        }
        Edge::Waiting { status } => event(EventType::RolloutWaiting, json!({"status": status})),
        Edge::Approved {
            batch,
            actor,
            reason,
        } => {
            rollouts::approve(tx, after.id, *batch, actor, reason).await?;
            let data = json!({"batch": batch, "detail": reason});
            ordered(event(EventType::RolloutApproved, data), order)
        }
        Edge::DelayCut { batch } => {
            let data = json!({"batch": batch, "next_batch_at": after.next_batch_at});
            ordered(event(EventType::RolloutDelayCut, data), order)
        }
        Edge::FreezeOverridden { detail, .. } => {
            let data = json!({"detail": detail});
            ordered(event(EventType::FreezeOverridden, data), order)
        }
        // The command's own event tells it.
        Edge::Retried { device, batch } => {
            retry::carry_out(tx, after, *device, *batch, order).await?;
            return Ok(Done::told());
        }
        Edge::RollbackOrdered { detail } => {
            let command = NewCommand {
                id: CommandId(uuid::Uuid::now_v7()),
                rollout: after.id,
                device: None,
                batch: None,
                kind: CommandKind::RollbackAll,
                actor: NAME.to_owned(),
                reason: detail.clone(),
            };
            commands::insert(tx, &command).await?;
            return Ok(Done::told());
        }
    };
    events::append(tx, told.stands(after)).await?;
    Ok(Done::told())
}

fn counts(batches: &[BatchProgress], batch: i64) -> Value {
    let found = batches.iter().find(|progress| progress.batch == batch);
    json!(found.cloned().unwrap_or_default())
}
