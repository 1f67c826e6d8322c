//! How long to let pass before the next poll.

use crate::backoff::{about, up_to};
use std::time::Duration;

/// Held at least so long, an answer is taken for one that was waited for.
const HELD: Duration = Duration::from_secs(5);
/// Between polls that are held: enough that a server which does not hold is not asked in a spin.
const BREATH: Duration = Duration::from_millis(300);
/// Between two changes one after the other.
const AFTER_CHANGES: Duration = Duration::from_secs(1);

/// What an answer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Changed,
    Unchanged,
}

/// How long the server may hold the next poll: none before anything was answered, and not the same for
/// every device, so that polls that began together do not go on together.
pub(super) fn wait_seconds(most: u64, asked_before: bool) -> Option<u64> {
    (asked_before && most > 0).then(|| about(Duration::from_secs(most)).as_secs().max(1))
}

/// How long to let pass.
pub(super) fn next_poll(
    answer: Answer,
    changed_before: bool,
    held: Duration,
    wait: Option<u64>,
    interval: Option<u64>,
    poll_seconds: u64,
) -> Duration {
    if let Some(seconds) = interval.filter(|seconds| *seconds > 0) {
        let asked = Duration::from_secs(seconds);
        return asked + up_to(asked / 10);
    }
    let was_held = wait.is_some_and(|wait| held >= HELD.min(Duration::from_secs(wait) / 2));
    match answer {
        Answer::Changed if changed_before && !was_held => AFTER_CHANGES,
        // Also after the first answer, which is asked for without a wait.
        Answer::Changed => Duration::ZERO,
        Answer::Unchanged if was_held => up_to(BREATH),
        Answer::Unchanged => about(Duration::from_secs(poll_seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Answer::{Changed, Unchanged};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_server_that_holds_polls_is_asked_again_at_once_and_one_that_does_not_is_not() {
        let of = |answer, before, held, wait, interval| {
            next_poll(answer, before, held, wait, interval, 60)
        };
        let held = seconds(40);
        let quick = Duration::from_millis(5);
        assert!(of(Unchanged, false, held, Some(50), None) <= BREATH);
        assert!(of(Unchanged, false, seconds(1), Some(2), None) <= BREATH);
        assert!(of(Unchanged, false, quick, Some(50), None) >= seconds(48));
        assert!(of(Unchanged, false, quick, None, None) <= seconds(60));
        assert_eq!(of(Changed, false, quick, None, None), Duration::ZERO);
        assert_eq!(of(Changed, true, held, Some(50), None), Duration::ZERO);
        // Another ETag each time is no reason to spin.
        assert_eq!(of(Changed, true, quick, Some(50), None), AFTER_CHANGES);
    }

    #[test]
    fn the_server_may_slow_a_fleet_down() {
        for answer in [Changed, Unchanged] {
            let pause = next_poll(answer, false, seconds(40), Some(50), Some(100), 60);
            assert!(pause >= seconds(100) && pause <= seconds(110), "{pause:?}");
        }
    }

    #[test]
    fn the_first_poll_is_answered_at_once_and_later_ones_wait_about_as_long_as_they_may() {
        assert_eq!(wait_seconds(50, false), None);
        assert_eq!(wait_seconds(0, true), None);
        let wait = wait_seconds(50, true).unwrap();
        assert!((40..=50).contains(&wait), "{wait}");
    }
}
