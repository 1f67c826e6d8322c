//! Letting old deliveries go, and what was asked of images that nobody ships any more.

use crate::state::State;
use chrono::TimeDelta;
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

/// Lets go one group of those that are old enough.
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
    let facts = image_facts::expire(&mut tx, before, GROUP).await?;
    tx.commit().await?;
    let done = expired.deleted + expired.emptied + facts;
    if done > 0 {
        tracing::info!(
            deleted = expired.deleted,
            emptied = expired.emptied,
            facts,
            "old deliveries and facts of images were let go"
        );
        return Ok(Next::Again);
    }
    Ok(Next::Idle)
}
