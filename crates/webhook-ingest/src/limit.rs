//! How often one address may deliver to one endpoint.
//!
//! Counted before anything is read of the body. The address is the peer's; what a header says of it is
//! believed only where the peer is a proxy that the configuration trusts.

use actix_web::HttpRequest;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use windlass_service::Problem;

/// Addresses of an endpoint that are remembered apart. Far more than registries have; who comes after
/// them shares one count, so that made-up addresses cost no memory.
const MOST: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Of(IpAddr),
    Rest,
}

/// The limit of one endpoint.
pub(crate) struct AddressLimit {
    limiter: DefaultKeyedRateLimiter<Source>,
    clock: DefaultClock,
    most: usize,
}

impl AddressLimit {
    /// So many a minute, at once or spread.
    pub(crate) fn per_minute(requests: u32) -> Self {
        let requests = NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN);
        Self {
            limiter: RateLimiter::keyed(Quota::per_minute(requests)),
            clock: DefaultClock::default(),
            most: MOST,
        }
    }

    /// Counts a delivery from this address.
    ///
    /// # Errors
    /// [`Problem::TooMany`] with the seconds to wait.
    pub(crate) fn charge(&self, address: Option<IpAddr>) -> Result<(), Problem> {
        let Some(address) = address else {
            return Ok(());
        };
        let source = if self.limiter.len() < self.most {
            Source::Of(network(address))
        } else {
            Source::Rest
        };
        self.limiter.check_key(&source).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            Problem::TooMany(wait.as_secs() + 1)
        })
    }

    /// Forgets addresses that have not delivered for a while.
    pub(crate) fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// What counts as one sender: of IPv6 the network, since whoever has one has all of its addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Reads the networks of trusted proxies; an address alone is a network of one.
///
/// # Errors
/// A text that names the one that is none.
pub(crate) fn networks(texts: &[String]) -> Result<Vec<IpNet>, String> {
    texts
        .iter()
        .map(|text| {
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .or(Err(format!(
                    "webhooks.trusted_proxies: {text:?} is no network; write it as in 10.0.0.0/8"
                )))
        })
        .collect()
}

/// Who sends: the peer, or behind trusted proxies the last address in `X-Forwarded-For` that is none of
/// theirs. The addresses before it are the sender's to make up.
pub(crate) fn sender_of(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let lines = request.headers().get_all("x-forwarded-for");
    let told = lines.map(|line| line.to_str().unwrap_or_default());
    Some(behind(peer, &told.collect::<Vec<_>>().join(","), trusted))
}

fn behind(peer: IpAddr, told: &str, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer;
    for text in told.rsplit(',') {
        if !is_trusted(&nearest) {
            break;
        }
        match text.trim().parse::<IpAddr>() {
            Ok(address) => nearest = address.to_canonical(),
            Err(_) => break,
        }
    }
    nearest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn one_address_is_held_back_and_another_is_not() {
        let limit = AddressLimit::per_minute(3);
        for _ in 0..3 {
            assert!(limit.charge(address("10.0.0.1")).is_ok());
        }
        let Err(Problem::TooMany(seconds)) = limit.charge(address("10.0.0.1")) else {
            panic!("not held back");
        };
        assert!((1..=21).contains(&seconds), "{seconds}");
        assert!(limit.charge(address("10.0.0.2")).is_ok());
        assert!(limit.charge(None).is_ok());
    }

    #[test]
    fn the_addresses_of_one_network_of_ipv6_are_one_sender() {
        let limit = AddressLimit::per_minute(1);
        assert!(limit.charge(address("2001:db8::1")).is_ok());
        assert!(limit.charge(address("2001:db8::2")).is_err());
        assert!(limit.charge(address("2001:db8:0:1::1")).is_ok());
        assert!(limit.charge(address("10.0.0.1")).is_ok());
        assert!(limit.charge(address("::ffff:10.0.0.1")).is_err());
    }

    #[test]
    fn made_up_addresses_cost_no_memory_and_those_known_are_forgotten() {
        let mut limit = AddressLimit::per_minute(2);
        limit.most = 10;
        let mut held = 0;
        for last in 0..200_u8 {
            let made_up = IpAddr::from([10, 0, 1, last]);
            held += usize::from(limit.charge(Some(made_up)).is_err());
        }
        assert!(limit.limiter.len() <= 11, "{}", limit.limiter.len());
        assert_eq!(held, 200 - 10 - 2, "the rest have one count");
        limit.forget();
        assert!(limit.limiter.len() <= 11);
    }

    #[test]
    fn a_header_is_believed_of_trusted_proxies_only() {
        let trusted = networks(&["10.0.0.0/8".to_owned(), "192.0.2.7".to_owned()]).unwrap();
        let cases = [
            ("203.0.113.1", "198.51.100.1", "203.0.113.1"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1, 192.0.2.7", "198.51.100.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "nonsense", "10.0.0.1"),
            ("10.0.0.1", "1.1.1.1, nonsense, 10.0.0.2", "10.0.0.2"),
            ("10.0.0.1", "10.0.0.9", "10.0.0.9"),
        ];
        for (peer, told, expected) in cases {
            let got = behind(peer.parse().unwrap(), told, &trusted);
            assert_eq!(got, expected.parse::<IpAddr>().unwrap(), "{peer} {told}");
        }
        assert!(networks(&["10.0.0.0/33".to_owned()]).is_err());
    }
}
