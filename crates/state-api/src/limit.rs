//! How often one address may ask to be provisioned.

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
    /// So many requests a minute, at once or spread.
    pub(crate) fn per_minute(requests: u32) -> Self {
        let requests = NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN);
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(requests)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 with the seconds to wait.
    pub(crate) fn check(&self, peer: Option<SocketAddr>) -> Result<(), Problem> {
        let Some(peer) = peer else { return Ok(()) };
        self.limiter.check_key(&peer.ip()).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            Problem::TooMany(wait.as_secs() + 1)
        })
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
            assert!(limit.check(peer(1)).is_ok());
        }
        let Err(Problem::TooMany(seconds)) = limit.check(peer(1)) else {
            panic!("not held back");
        };
        assert!((1..=21).contains(&seconds), "{seconds}");
        assert!(limit.check(peer(2)).is_ok());
        assert!(limit.check(None).is_ok());
    }
}
