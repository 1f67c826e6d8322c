//! Letting old deliveries go, and what was asked of images that nobody ships any more.

use crate::state::State;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;
use std::time::Duration;
use windlass_service::work::{Loop, Next, RunError};
use windlass_store::{deliveries, image_facts};

/// Deliveries of one transaction at most: bodies are large, and nothing waits for this.
const GROUP: i64 = 500;
/// Retention counts in days.
const INTERVAL: Duration = Duration::from_secs(3600);

/// The loop.
pub(crate) fn work(state: Arc<State>) -> Loop {
    Loop::new("webhook_retention", INTERVAL, &[], move || {
        run(Arc::clone(&state))
    })
}

/// Lets go one group of those that are old enough; after the last of them what was asked of images.
pub(crate) async fn run(state: Arc<State>) -> Result<Next, RunError> {
    let days = i64::try_from(state.settings.retention_days).unwrap_or(i64::MAX);
    let Some(kept) = TimeDelta::try_days(days) else {
        return Ok(Next::Idle);
    };
    let mut tx = state.deps.store.begin().await?;
    let Some(before) = tx.now().checked_sub_signed(kept) else {
        return Ok(Next::Idle);
    };
    let expired = deliveries::expire(&mut tx, before, GROUP).await?;
    tx.commit().await?;
    if expired.deleted + expired.emptied > 0 {
        tracing::info!(
            deleted = expired.deleted,
            emptied = expired.emptied,
            "old deliveries were let go"
        );
        return Ok(Next::Again);
    }
    let forgotten = forget(&state, before).await?;
    if forgotten > 0 {
        tracing::info!(forgotten, "what registries told of old images was let go");
    }
    Ok(Next::Idle)
}

/// Forgets what is known of images that nobody ships or runs any more. They are looked for with a reader, since there
/// may be many to look through and few to forget, and a writer costs others their turn.
async fn forget(state: &State, before: DateTime<Utc>) -> windlass_store::Result<u64> {
    let store = &state.deps.store;
    let (mut gone, mut after) = (0, None);
    loop {
        let mut read = store.read().await?;
        let found = image_facts::unused(&mut read, before, after.as_ref(), GROUP).await?;
        drop(read);
        if !found.digests.is_empty() {
            let mut tx = store.begin().await?;
            gone += image_facts::forget(&mut tx, before, &found.digests).await?;
            tx.commit().await?;
        }
        after = found.last;
        if after.is_none() {
            return Ok(gone);
        }
    }
}
