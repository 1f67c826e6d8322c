//! Published ports.

use super::value::{Field, Read};
use super::{Port, Protocol};
use serde_json::Value;

impl Port {
    /// Whether both would listen on the same port of the host and cannot. Where one may choose from
    /// a range that has more than what the other takes, both can.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let same_address = |a: &Option<String>, b: &Option<String>| match (a, b) {
            (Some(a), Some(b)) => a == b || is_any(a) || is_any(b),
            (None, _) | (_, None) => true,
        };
        let (Some(ours), Some(theirs)) = (self.host, other.host) else {
            return false;
        };
        let is_one = |range: (u16, u16)| range.0 == range.1;
        self.protocol == other.protocol
            && same_address(&self.address, &other.address)
            && is_one(ours)
            && is_one(theirs)
            && ours == theirs
    }
}

fn is_any(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "::" | "*")
}

/// What `ports` says, sorted.
pub(super) fn ports(field: &Field<'_>) -> Read<Vec<Port>> {
    let mut ports = Vec::new();
    for item in field.list()? {
        match item.value {
            Value::Object(_) => ports.extend(of_object(&item)?),
            _ => ports.extend(of_text(&item, &item.scalar()?)?),
        }
    }
    ports.sort();
    ports.dedup();
    for (n, port) in ports.iter().enumerate() {
        if let Some(other) = ports.iter().skip(n + 1).find(|other| other.collides(port)) {
            return field.wrong(format!(
                "the host's port {} is published for {} and for {} of the container",
                port.host.unwrap_or_default().0,
                port.container,
                other.container
            ));
        }
    }
    Ok(ports)
}

const SHAPE: &str = "a port such as 8080:80, 127.0.0.1:8080:80/udp, 8080-8090:80 or 80";

fn of_text(item: &Field<'_>, text: &str) -> Read<Vec<Port>> {
    let (text, protocol) = match text.split_once('/') {
        Some((text, "tcp")) => (text, Protocol::Tcp),
        Some((text, "udp")) => (text, Protocol::Udp),
        Some(_) => return item.expected("a port of tcp or udp"),
        None => (text, Protocol::Tcp),
    };
    let (rest, container) = match text.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, text),
    };
    let (address, host) = match rest {
        None => (None, None),
        Some(rest) => match rest.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((address, host)) => (Some(address), Some(host)),
            None => (None, Some(rest)),
        },
    };
    let address = address.map(|a| a.trim_matches(['[', ']']));
    expand(item, address, host.unwrap_or_default(), container, protocol)
}

fn of_object(item: &Field<'_>) -> Read<Vec<Port>> {
    let mut fields = item.fields()?;
    let Some(container) = fields.text(&["target", "container_port", "container"])? else {
        return item.wrong("target is missing: the container's port");
    };
    let host = fields.get(&["published", "host_port", "host"]);
    let host = host.map(|field| field.scalar()).transpose()?;
    let address = fields.text(&["host_ip", "address", "ip"])?;
    let protocol = match fields.text(&["protocol"])?.as_deref() {
        None | Some("tcp" | "TCP") => Protocol::Tcp,
        Some("udp" | "UDP") => Protocol::Udp,
        Some(_) => return item.expected("a port of tcp or udp"),
    };
    expand(
        item,
        address.as_deref(),
        host.as_deref().unwrap_or_default(),
        &container,
        protocol,
    )
}

fn expand(
    item: &Field<'_>,
    address: Option<&str>,
    host: &str,
    container: &str,
    protocol: Protocol,
) -> Read<Vec<Port>> {
    if let Some(address) = address
        && address.parse::<std::net::IpAddr>().is_err()
    {
        return item.wrong(format!("{address:?} is no address of the host"));
    }
    let Some(container) = range(container).filter(|(first, _)| *first > 0) else {
        return item.expected(SHAPE);
    };
    let host = match host.trim() {
        "" | "0" => None,
        text => match range(text) {
            Some(range) if range.0 > 0 => Some(range),
            _ => return item.expected(SHAPE),
        },
    };
    let length = |range: (u16, u16)| u32::from(range.1 - range.0) + 1;
    if let Some(host) = host
        && length(container) > 1
        && length(host) != length(container)
    {
        return item.wrong("the ranges of the host's and the container's ports differ in length");
    }
    let port = |host, container| Port {
        address: address.map(str::to_owned),
        host,
        container,
        protocol,
    };
    Ok(match host {
        Some(host) if length(container) > 1 => (host.0..=host.1)
            .zip(container.0..=container.1)
            .map(|(host, container)| port(Some((host, host)), container))
            .collect(),
        _ => (container.0..=container.1)
            .map(|container| port(host, container))
            .collect(),
    })
}

/// `80` or `80-90`.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some((first, last))
}
