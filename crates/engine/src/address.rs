//! Where an engine listens.

use std::path::PathBuf;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket of this machine.
    Socket(PathBuf),
    /// Plain HTTP: `host:port`. Whoever reaches it owns the machine; for tunnels and tests.
    Http(String),
}

/// A text that is no engine's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no engine's address: expected unix:///var/run/docker.sock, a path or http://host:port"
)]
pub struct InvalidAddress(String);

impl Address {
    /// Whether the engine runs on this machine, so that its paths are this machine's.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Socket(_))
    }
}

impl std::str::FromStr for Address {
    type Err = InvalidAddress;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let socket = text.strip_prefix("unix://").unwrap_or(text);
        if socket.starts_with('/') {
            return Ok(Self::Socket(PathBuf::from(socket)));
        }
        // `tcp://` is what DOCKER_HOST calls plain HTTP.
        let host = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("tcp://"))
            .map(|host| host.trim_end_matches('/'));
        match host {
            Some(host)
                if host.rsplit_once(':').is_some_and(|(name, port)| {
                    !name.is_empty() && port.parse::<u16>().is_ok()
                }) =>
            {
                Ok(Self::Http(host.to_owned()))
            }
            Some(_) | None => Err(InvalidAddress(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Http(host) => write!(f, "http://{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_plain_http_are_addresses_and_nothing_else_is() {
        for (text, meant) in [
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("/run/docker.sock", "unix:///run/docker.sock"),
            ("tcp://10.0.0.1:2375", "http://10.0.0.1:2375"),
            ("http://[::1]:2375/", "http://[::1]:2375"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), meant);
        }
        for text in [
            "",
            "docker.sock",
            "https://a:1",
            "tcp://a",
            "http://:80",
            "ssh://a",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
