//! How often one address may be refused, or register devices that nobody knows yet.
//!
//! A device that proves itself is never held back: behind a proxy a whole fleet has one address, and
//! after a power cut all of it comes back in the same minute.

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use windlass_service::Problem;

/// A limit for each peer address. The peer's, not a header's: a client sets headers as it likes.
pub(crate) struct AddressLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
}

impl AddressLimit {
    /// So many charges a minute, at once or spread.
    pub(crate) fn per_minute(requests: u32) -> Self {
        let requests = NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN);
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(requests)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts one refusal or new device.
    ///
    /// # Errors
    /// 429 with the seconds to wait.
    pub(crate) fn charge(&self, peer: Option<SocketAddr>) -> Result<(), Problem> {
        let Some(peer) = peer else { return Ok(()) };
        self.limiter.check_key(&peer.ip()).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            Problem::TooMany(wait.as_secs() + 1)
        })
    }

    /// Counts what was refused for its keys; beyond the limit it is not told any more what was wrong.
    ///
    /// # Errors
    /// The refusal, or 429 in its place.
    pub(crate) fn count<T>(
        &self,
        peer: Option<SocketAddr>,
        outcome: Result<T, Problem>,
    ) -> Result<T, Problem> {
        if let Err(Problem::Unauthorized(_) | Problem::NotFound(_) | Problem::Conflict(_)) =
            &outcome
        {
            self.charge(peer)?;
        }
        outcome
    }

    /// Forgets addresses that have not asked for a while.
    pub(crate) fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_held_back_and_another_is_not() {
        let limit = AddressLimit::per_minute(3);
        let peer = |last| Some(SocketAddr::from(([10, 0, 0, last], 1)));
        for _ in 0..3 {
            assert!(limit.charge(peer(1)).is_ok());
        }
        let Err(Problem::TooMany(seconds)) = limit.charge(peer(1)) else {
            panic!("not held back");
        };
        assert!((1..=21).contains(&seconds), "{seconds}");
        assert!(limit.charge(peer(2)).is_ok());
        assert!(limit.charge(None).is_ok());
    }

    #[test]
    fn only_refusals_count() {
        let limit = AddressLimit::per_minute(1);
        let peer = Some(SocketAddr::from(([10, 0, 0, 1], 1)));
        let refused = || Err::<(), _>(Problem::Unauthorized(String::new()));
        for _ in 0..5 {
            assert!(limit.count(peer, Ok(())).is_ok());
            let away = limit.count::<()>(peer, Err(Problem::Unavailable(None)));
            assert!(matches!(away, Err(Problem::Unavailable(_))));
        }
        let first = limit.count(peer, refused());
        assert!(matches!(first, Err(Problem::Unauthorized(_))));
        let second = limit.count(peer, refused());
        assert!(matches!(second, Err(Problem::TooMany(_))));
        assert!(limit.count(peer, Ok(())).is_ok());
    }
}
