//! One run of a loop that asks registries: nothing where nothing is due, else everything that was taken at once.

use chrono::{DateTime, Utc};
use tokio::task::JoinSet;
use windlass_service::work::{Next, RunError};

/// What a loop does instead of taking something, where nothing is due yet.
pub(crate) fn not_yet(due: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Next> {
    let Some(due) = due else {
        return Some(Next::Idle);
    };
    match due.signed_duration_since(now).to_std() {
        Ok(wait) if !wait.is_zero() => Some(Next::After(wait)),
        // It is due, since a moment or since now.
        Ok(_) | Err(_) => None,
    }
}

/// Asks everything at once and waits for all of it. One that fails keeps no other from its end.
///
/// # Errors
/// The last failure.
pub(crate) async fn all<Asked>(asked: impl IntoIterator<Item = Asked>) -> Result<Next, RunError>
where
    Asked: Future<Output = windlass_store::Result<()>> + Send + 'static,
{
    let mut running: JoinSet<_> = asked.into_iter().collect();
    let any = !running.is_empty();
    let mut failed = None;
    while let Some(done) = running.join_next().await {
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failed = Some(error.into()),
            Err(error) => failed = Some(RunError::from(error)),
        }
    }
    match failed {
        Some(error) => Err(error),
        None if any => Ok(Next::Again),
        None => Ok(Next::Idle),
    }
}
