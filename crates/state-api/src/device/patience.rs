//! Requests that had better be answered late than with 503.

use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use windlass_service::Problem;

/// How long a request is tried at most: less than agents wait for an answer.
pub(crate) const LONGEST: Duration = Duration::from_secs(20);
/// The first wait between two tries; each is twice the one before, up to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(2);

/// Does this, again and again while the store does not answer, for so long at most. A try needs a
/// turn, so that a fleet that comes back at once does not take every connection to the store.
///
/// # Errors
/// What the last try failed with; 503 where no turn came.
pub(crate) async fn patiently<T>(
    turns: &Semaphore,
    longest: Duration,
    work: impl AsyncFn() -> Result<T, Problem>,
) -> Result<T, Problem> {
    let deadline = Instant::now() + longest;
    let mut wait = FIRST;
    loop {
        let Ok(Ok(turn)) = timeout_at(deadline, turns.acquire()).await else {
            return Err(Problem::Unavailable(None));
        };
        let outcome = work().await;
        drop(turn);
        let later = Instant::now() + wait;
        if !matches!(outcome, Err(Problem::Unavailable(_))) || later >= deadline {
            return outcome;
        }
        sleep(wait).await;
        wait = (wait * 2).min(SLOWEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn a_store_that_is_away_for_a_moment_costs_time_and_nothing_else() {
        let (turns, tries) = (Semaphore::new(1), Cell::new(0));
        let outcome = patiently(&turns, LONGEST, async || {
            tries.set(tries.get() + 1);
            if tries.get() < 3 {
                return Err(Problem::Unavailable(None));
            }
            Ok(tries.get())
        })
        .await;
        assert!(matches!(outcome, Ok(3)), "{outcome:?}");
        assert_eq!(turns.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_refusal_is_not_tried_again_and_patience_ends() {
        let (turns, tries) = (Semaphore::new(1), Cell::new(0));
        let refused = patiently(&turns, LONGEST, async || {
            tries.set(tries.get() + 1);
            Err::<(), _>(Problem::Unauthorized(String::new()))
        })
        .await;
        assert!(matches!(refused, Err(Problem::Unauthorized(_))));
        assert_eq!(tries.get(), 1);
        let away = async || Err::<(), _>(Problem::Unavailable(None));
        let gone = patiently(&turns, Duration::from_millis(250), away).await;
        assert!(matches!(gone, Err(Problem::Unavailable(_))));
        let _held = turns.try_acquire();
        let waited = patiently(&turns, Duration::from_millis(10), async || Ok(())).await;
        assert!(matches!(waited, Err(Problem::Unavailable(_))));
    }
}
