//! Looking for pushes that no webhook told of.
//!
//! Repositories that enabled policies care about are looked at by turns, each by one replica at a time.
//! What is found goes the way of a webhook's pushes; docs/adr/0019-registry-watch.md has the rules.

mod listing;
mod look;
mod metrics;
mod write;

pub(crate) use listing::list;
pub(crate) use metrics::Metrics;

use crate::asking;
use crate::state::State;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use windlass_core::watch::{Pace, wanted};
use windlass_service::config::WatchSection;
use windlass_service::work::{Loop, Next, RunError};
use windlass_store::registry_watch::Claimed;
use windlass_store::{policies, registry_watch};
use windlass_types::event::EventType;
use windlass_types::image::Repository;
use windlass_types::policy::Policy;

/// How often is looked for what is due at least.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often is looked for repositories that devices run images of now; policies that change are seen
/// at once.
const ROSTER: Duration = Duration::from_secs(30);
/// How long a look may take; a registry that answers each question in the last moment is left then.
const LOOK: Duration = Duration::from_secs(150);
/// How long a look is one replica's: longer than it may take, with what is written after it.
const CLAIM: TimeDelta = TimeDelta::seconds(300);
/// What is new is looked at first within this, so that a start with many of them is no storm.
const FIRST: TimeDelta = TimeDelta::seconds(30);

/// The policies and when the roster was made from them.
type Roster = Arc<Mutex<Option<(Instant, Vec<Policy>)>>>;

/// The loop.
pub(crate) fn work(state: Arc<State>) -> Loop {
    let roster = Roster::default();
    Loop::new(
        "registry_watch",
        INTERVAL,
        &[
            EventType::PolicyCreated,
            EventType::PolicyUpdated,
            EventType::PolicyDeleted,
        ],
        move || run(Arc::clone(&state), Arc::clone(&roster)),
    )
}

async fn run(state: Arc<State>, roster: Roster) -> Result<Next, RunError> {
    settle(&state).await?;
    if !state.watch.enabled {
        return Ok(Next::Idle);
    }
    let Ok(registry) = &state.registry else {
        // It was said at the start that nobody can be asked.
        return Ok(Next::Idle);
    };
    let policies = call_roll(&state, &roster).await?;
    let store = &state.deps.store;
    let mut session = store.read().await?;
    let due = registry_watch::next_look(&mut session).await?;
    drop(session);
    if let Some(next) = asking::not_yet(due, store.clock().now()) {
        return Ok(next);
    }
    let mut tx = store.begin().await?;
    let until = tx.now() + CLAIM;
    let claimed =
        registry_watch::claim(&mut tx, state.watch.concurrent_looks.into(), until).await?;
    tx.commit().await?;
    let policies = Arc::new(policies);
    let one = |claimed: Claimed| {
        let (state, policies) = (Arc::clone(&state), Arc::clone(&policies));
        let registry = registry.in_background();
        async move {
            let look = look::Look {
                state: &state,
                registry: &registry,
                policies: &policies,
                claimed: &claimed,
            };
            look.run(LOOK).await
        }
    };
    asking::all(claimed.into_iter().map(one)).await
}

/// Keeps the roster of repositories: again where policies changed, and now and then. Returns the
/// policies.
async fn call_roll(state: &State, roster: &Roster) -> windlass_store::Result<Vec<Policy>> {
    let store = &state.deps.store;
    let mut session = store.read().await?;
    let policies = policies::enabled(&mut session).await?;
    let fresh = roster
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_ref()
        .is_some_and(|(at, known)| at.elapsed() < ROSTER && *known == policies);
    if fresh {
        return Ok(policies);
    }
    let in_use = registry_watch::in_use(&mut session).await?;
    drop(session);
    let mut tx = store.begin().await?;
    let now = tx.now();
    let first: TimeDelta = FIRST.min(pace(&state.watch).alone);
    let wanted: BTreeMap<Repository, DateTime<Utc>> = wanted(&policies, &in_use)
        .into_iter()
        .map(|repository| (repository, now + first / 1000 * i32::from(jitter())))
        .collect();
    if registry_watch::keep(&mut tx, &wanted).await? {
        tx.commit().await?;
        tracing::info!(
            repositories = wanted.len(),
            "the watch has its repositories"
        );
    } else {
        tx.rollback().await?;
    }
    let mut roster = roster.lock().unwrap_or_else(PoisonError::into_inner);
    *roster = Some((Instant::now(), policies.clone()));
    Ok(policies)
}

/// Counts the webhooks that were missed by now.
async fn settle(state: &State) -> windlass_store::Result<()> {
    let store = &state.deps.store;
    let mut session = store.read().await?;
    let due = registry_watch::next_settling(&mut session).await?;
    drop(session);
    if due.is_none_or(|due| due > store.clock().now()) {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    let missed = registry_watch::settle(&mut tx).await?;
    tx.commit().await?;
    for (repository, endpoint) in missed {
        tracing::warn!(
            image.repository = %repository,
            webhook.endpoint = endpoint,
            "a push was found by looking that a webhook should have told of"
        );
        state
            .metrics
            .watch
            .missed
            .with_label_values(&[&endpoint])
            .inc();
    }
    Ok(())
}

/// How often repositories are looked at.
fn pace(section: &WatchSection) -> Pace {
    Pace {
        alone: TimeDelta::seconds(section.interval_seconds.into()),
        with_webhooks: TimeDelta::seconds(section.interval_with_webhooks_seconds.into()),
        lately: TimeDelta::days(section.webhook_days.into()),
    }
}

/// A number from 0 to 999.
fn jitter() -> u16 {
    // The last bits of a random id: it is no secret, and nothing depends on its quality.
    let random = uuid::Uuid::new_v4().as_u128() % 1000;
    u16::try_from(random).unwrap_or_default()
}
