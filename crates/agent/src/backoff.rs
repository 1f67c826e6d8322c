//! How long to wait after failures: exponential, with full jitter, so that devices that lost their server
//! at the same moment do not come back at the same moment.

use std::time::Duration;

/// Counts failures in a row.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits up to `first` after one failure, up to twice that after two, up to `longest`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
        }
    }

    /// It went well.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often in a row it did not.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait after one more failure. What the server asked for is added to, never cut short:
    /// it says the same to every device.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        delay(
            self.first,
            self.longest,
            self.failures,
            asked,
            random_share(),
        )
    }
}

/// The wait after so many failures; `share` is from 0 to 1.
fn delay(
    first: Duration,
    longest: Duration,
    failures: u32,
    asked: Option<Duration>,
    share: f64,
) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let most = first.saturating_mul(1 << doublings).min(longest);
    // At least a tenth, so that the smallest draws are no hammering.
    let drawn = most.mul_f64(0.1 + 0.9 * share);
    match asked {
        Some(asked) => asked.saturating_add(drawn.min(asked.max(first))),
        None => drawn,
    }
}

/// A wait of about this long: from four fifths of it to all of it.
#[must_use]
pub fn about(wait: Duration) -> Duration {
    wait.mul_f64(0.8 + 0.2 * random_share())
}

/// Somewhere from nothing to this long.
#[must_use]
pub fn up_to(wait: Duration) -> Duration {
    wait.mul_f64(random_share())
}

/// A random number from 0 to 1; 1 where the system gives none.
fn random_share() -> f64 {
    getrandom::u32().map_or(1.0, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: Duration = Duration::from_secs(5);
    const LONGEST: Duration = Duration::from_secs(300);

    #[test]
    fn waits_grow_to_the_longest_and_draws_are_spread_over_them() {
        let most: Vec<u64> = (1..9)
            .map(|failures| delay(FIRST, LONGEST, failures, None, 1.0).as_secs())
            .collect();
        assert_eq!(most, [5, 10, 20, 40, 80, 160, 300, 300]);
        let least = delay(FIRST, LONGEST, 4, None, 0.0);
        assert_eq!(least, Duration::from_secs(4));
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_the_longest_nor_shorter_than_asked_for(
            failures in 0_u32..=u32::MAX,
            share in 0.0..=1.0_f64,
            asked in proptest::option::of(0_u64..100_000),
        ) {
            let asked = asked.map(Duration::from_secs);
            let wait = delay(FIRST, LONGEST, failures, asked, share);
            match asked {
                None => prop_assert!(wait <= LONGEST && wait >= FIRST / 10),
                Some(asked) => prop_assert!(wait >= asked && wait <= asked + LONGEST),
            }
        }
    }
}
