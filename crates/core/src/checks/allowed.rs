//! Whom checks may ask. They run inside the operator's network, and whoever writes a policy, or is a
//! device, would otherwise choose what is asked there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address one is. All but public and private ones are asked only where an entry names
/// them as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Of no use as a target: `0.0.0.0/8`, `::`.
    Unspecified,
    /// This machine.
    Loopback,
    /// Reaches only neighbours.
    LinkLocal,
    /// Where clouds tell a machine its secrets.
    Metadata,
    /// Many machines at once, or none that exists: multicast, broadcast, reserved.
    Multicast,
    /// An IPv6 address that carries an IPv4 address, which would be another one.
    Embedded,
    /// A private network: RFC 1918, RFC 6598, RFC 4193.
    Private,
    /// All others.
    Public,
}

impl Class {
    /// Whether an entry that names the address as such is needed.
    #[must_use]
    pub const fn is_special(self) -> bool {
        match self {
            Self::Unspecified
            | Self::Loopback
            | Self::LinkLocal
            | Self::Metadata
            | Self::Multicast
            | Self::Embedded => true,
            Self::Private | Self::Public => false,
        }
    }

    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "this machine",
            Self::LinkLocal => "a link-local address",
            Self::Metadata => "a cloud's metadata service",
            Self::Multicast => "a multicast or reserved address",
            Self::Embedded => "an IPv6 address with an IPv4 address in it",
            Self::Private => "a private address",
            Self::Public => "a public address",
        }
    }
}

/// Metadata services: the usual one, those of AWS ECS, Alibaba, Oracle and Azure.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
/// The same by IPv6: AWS's three, Google's.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x123),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// What kind of address this is.
#[must_use]
pub fn class_of(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(v4) => class_of_v4(v4),
        IpAddr::V6(v6) => class_of_v6(v6),
    }
}

fn class_of_v4(address: Ipv4Addr) -> Class {
    let [a, b, _, _] = address.octets();
    if METADATA_V4.contains(&address) {
        Class::Metadata
    } else if a == 0 {
        Class::Unspecified
    } else if address.is_loopback() {
        Class::Loopback
    } else if address.is_link_local() {
        Class::LinkLocal
    } else if a >= 224 {
        Class::Multicast
    } else if address.is_private() || (a == 100 && (64..128).contains(&b)) {
        Class::Private
    } else {
        Class::Public
    }
}

fn class_of_v6(address: Ipv6Addr) -> Class {
    let segments = address.segments();
    let [first, second, third, ..] = segments;
    if METADATA_V6.contains(&address) {
        return Class::Metadata;
    }
    if address.is_unspecified() {
        return Class::Unspecified;
    }
    if address.is_loopback() {
        return Class::Loopback;
    }
    let zeros = |upto: usize| segments.iter().take(upto).all(|segment| *segment == 0);
    // ::/96 (compatible), ::ffff:0:0/96 (mapped), ::ffff:0:0:0/96 (translated), 64:ff9b::/96 and
    // 64:ff9b:1::/48 (NAT64), 2002::/16 (6to4), 2001::/32 (Teredo).
    if zeros(4)
        || (first == 0x64 && second == 0xff9b && matches!(third, 0 | 1))
        || first == 0x2002
        || (first == 0x2001 && second == 0)
    {
        return Class::Embedded;
    }
    match first {
        0xfe80..=0xfebf => Class::LinkLocal,
        // fec0::/10 were site-local addresses.
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Class::Private,
        0xff00..=0xffff => Class::Multicast,
        _ => Class::Public,
    }
}

/// An entry that is no network, address or host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no target; expected a network such as 10.1.0.0/16 or fd12::/16, an address or a host name, each also with a port as in [fd12::1]:9090"
)]
pub struct InvalidTarget(pub String);

/// Whom checks may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    entries: Vec<Entry>,
    any: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    place: Place,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Network(Network),
    /// A host by its name, in lower case.
    Host(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    bits: u32,
}

impl Allowed {
    /// By this list.
    ///
    /// # Errors
    /// [`InvalidTarget`] with the first entry that is none.
    pub fn new(entries: &[String]) -> Result<Self, InvalidTarget> {
        let entries = entries
            .iter()
            .map(|text| Entry::read(text).ok_or_else(|| InvalidTarget(text.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            entries,
            any: false,
        })
    }

    /// The same, and whatever is a public or private address.
    #[must_use]
    pub fn or_any(self, any: bool) -> Self {
        Self { any, ..self }
    }

    /// Whether this port of this address may be asked, found under this host name (or written as the
    /// address itself).
    ///
    /// # Errors
    /// Why not, for people.
    pub fn permits(&self, host: &str, address: IpAddr, port: u16) -> Result<(), String> {
        let class = class_of(address);
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let listed = self.entries.iter().any(|entry| {
            entry.port.is_none_or(|listed| listed == port)
                && match &entry.place {
                    Place::Network(network) => network.names(address, class),
                    // A name may be pointed anywhere by whoever owns it.
                    Place::Host(name) => *name == host && !class.is_special(),
                }
        });
        if listed || (self.any && !class.is_special()) {
            return Ok(());
        }
        Err(format!(
            "{address} port {port} may not be asked: it is {} and not in health.allowed_targets",
            class.as_str()
        ))
    }
}

impl Entry {
    fn read(text: &str) -> Option<Self> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        if let Some(network) = Network::read(text) {
            return Some(Self {
                place: Place::Network(network),
                port: None,
            });
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']')?;
            let network = Network::read(inside)?;
            let port = match after.strip_prefix(':') {
                Some(text) => Some(port(text)?),
                None if after.is_empty() => None,
                None => return None,
            };
            return Some(Self {
                place: Place::Network(network),
                port,
            });
        }
        let (place, port) = match text.rsplit_once(':') {
            Some((place, text)) => (place, Some(port(text)?)),
            None => (text, None),
        };
        let place = match Network::read(place) {
            Some(network) => Place::Network(network),
            None => Place::Host(host_name(place)?),
        };
        Some(Self { place, port })
    }
}

/// A host name: labels of letters, digits, `-` and `_`, not all digits in the last one.
fn host_name(text: &str) -> Option<String> {
    let text = text.trim_end_matches('.').to_ascii_lowercase();
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last_is_number = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    (text.len() <= 253 && text.split('.').all(fits) && !last_is_number).then_some(text)
}

impl Network {
    fn read(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().ok()?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
            None => most,
        };
        let network = Self { first, bits };
        // 10.1.2.3/8 is a slip: it reads as less than it is.
        (network.masked(first) == first_bits(first)).then_some(network)
    }

    /// Whether the address is in it, by an entry that means addresses of its class: everything in a
    /// network that is special is special in the same way, so that 0.0.0.0/0 opens no door to this
    /// machine.
    fn names(&self, address: IpAddr, class: Class) -> bool {
        if self.first.is_ipv4() != address.is_ipv4()
            || self.masked(address) != first_bits(self.first)
        {
            return false;
        }
        !class.is_special() || (class_of(self.first) == class && class_of(self.last()) == class)
    }

    fn mask(&self) -> u128 {
        let most = if self.first.is_ipv4() { 32 } else { 128 };
        match most - self.bits {
            128 => 0,
            rest => u128::MAX << rest,
        }
    }

    fn masked(&self, address: IpAddr) -> u128 {
        first_bits(address) & self.mask()
    }

    fn last(&self) -> IpAddr {
        let last = first_bits(self.first) | !self.mask();
        match self.first {
            IpAddr::V4(_) => {
                let [.., a, b, c, d] = last.to_be_bytes();
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(last)),
        }
    }
}

fn first_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests;
