//! What has to be done now and then: forgetting addresses, writing down what was refused.

use crate::state::State;
use std::sync::Arc;
use std::time::Duration;
use windlass_service::work::{Loop, Next, RunError};

/// So often that what a flood of addresses fills up is free again a moment after it.
const INTERVAL: Duration = Duration::from_secs(5);

/// The loop.
pub(crate) fn work(state: Arc<State>) -> Loop {
    Loop::new("webhook_upkeep", INTERVAL, &[], move || {
        run(Arc::clone(&state))
    })
}

/// Forgets the addresses that have not delivered for a while, and writes down refusals.
pub(crate) async fn run(state: Arc<State>) -> Result<Next, RunError> {
    for endpoint in state.endpoints.values() {
        endpoint.limit.forget();
    }
    state.refusals.write(&state.deps.store).await?;
    Ok(Next::Idle)
}
