//! One try of a probe: where a container is reached, and what came of it.

use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::TcpStream;
use windlass_engine::{Found, Published};
use windlass_reconcile::spec::{ProbeKind, Protocol};

/// How much of an answer is read, in bytes: what is looked for in it is at its beginning.
const BODY: usize = 64 * 1024;
/// How much of what a try said is kept, in bytes.
const OUTPUT: usize = 1024;

/// Where a container is reached from the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    on_host: bool,
    address: Option<String>,
    published: Vec<Published>,
}

impl Place {
    pub(super) fn of(found: &Found) -> Self {
        Self {
            on_host: found.network_mode == "host",
            address: found
                .networks
                .values()
                .find_map(|(_, address)| address.clone()),
            published: found.published.clone(),
        }
    }

    /// `host:port` for a port of the container; none where it is reached nowhere.
    pub(super) fn address(&self, port: u16) -> Option<String> {
        if self.on_host {
            return Some(format!("127.0.0.1:{port}"));
        }
        if let Some(address) = &self.address {
            return Some(joined(address, port));
        }
        // Engines without root give containers no address that the host could reach.
        let published = self
            .published
            .iter()
            .find(|at| at.container == port && at.protocol == Protocol::Tcp)?;
        let address = match published.address.as_str() {
            "" | "0.0.0.0" | "::" => "127.0.0.1",
            address => address,
        };
        Some(joined(address, published.host))
    }
}

fn joined(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// What came of a try, and what it said.
pub(super) type Outcome = Result<String, String>;

/// Tries what needs no engine; none for what does.
pub(super) async fn over_network(
    kind: &ProbeKind,
    place: &Place,
    limit: Duration,
) -> Option<Outcome> {
    let (ProbeKind::Http { port, .. } | ProbeKind::Tcp { port }) = kind else {
        return None;
    };
    let Some(address) = place.address(*port) else {
        return Some(Err(format!(
            "port {port}: the container has no network to be reached by, and does not publish it"
        )));
    };
    Some(match kind {
        ProbeKind::Http {
            path,
            expected,
            tls,
            contains,
            ..
        } => {
            let scheme = if *tls { "https" } else { "http" };
            let path = path.strip_prefix('/').unwrap_or(path);
            let url = format!("{scheme}://{address}/{path}");
            match get(&url, limit).await {
                Ok(answer) => judged(&answer, expected, contains.as_deref()),
                Err(reason) => Err(cut(&format!("{url}: {reason}"))),
            }
        }
        ProbeKind::Tcp { .. } | ProbeKind::Exec { .. } => {
            match tokio::time::timeout(limit, TcpStream::connect(&address)).await {
                Ok(Ok(_connection)) => Ok(format!("{address} takes connections")),
                Ok(Err(error)) => Err(format!("{address}: {error}")),
                Err(_late) => Err(format!("{address}: no answer within {} s", limit.as_secs())),
            }
        }
    })
}

fn judged(answer: &Answer, expected: &[u16], contains: Option<&str>) -> Outcome {
    let status = answer.status;
    let well = if expected.is_empty() {
        (200..400).contains(&status)
    } else {
        expected.contains(&status)
    };
    if !well {
        return Err(cut(&format!("{status} {}", answer.body.trim())));
    }
    match contains {
        Some(text) if !answer.body.contains(text) => {
            Err(cut(&format!("{status}, and {text:?} is not in the answer")))
        }
        Some(_) | None => Ok(status.to_string()),
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// Asks, within a time that includes the body.
pub(super) async fn get(url: &str, limit: Duration) -> Result<Answer, String> {
    let ask = async {
        let mut answer = client()?.get(url).send().await.map_err(told)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(told)? {
            body.extend_from_slice(&part);
            if body.len() >= BODY {
                break;
            }
        }
        body.truncate(BODY);
        Ok(Answer {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    tokio::time::timeout(limit, ask)
        .await
        .unwrap_or_else(|_late| Err(format!("no answer within {} s", limit.as_secs())))
}

fn told(error: reqwest::Error) -> String {
    // The innermost cause is the one that says something; the address stands before it.
    let error = error.without_url();
    let mut innermost: &dyn std::error::Error = &error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

fn client() -> Result<&'static reqwest::Client, String> {
    static CLIENT: OnceLock<Option<reqwest::Client>> = OnceLock::new();
    CLIENT
        .get_or_init(|| {
            // A second provider is no error.
            rustls::crypto::ring::default_provider()
                .install_default()
                .ok();
            reqwest::Client::builder()
                // Containers of this machine: never by way of a proxy, and never somewhere else.
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .tls_danger_accept_invalid_certs(true)
                // A connection that is kept says nothing of whether a new one is taken.
                .pool_max_idle_per_host(0)
                .build()
                .ok()
        })
        .as_ref()
        .ok_or_else(|| "no HTTP client can be made".to_owned())
}

/// At most so much of a text as is kept.
pub(super) fn cut(text: &str) -> String {
    let mut end = text.len().min(OUTPUT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(on_host: bool, address: Option<&str>, published: &[(&str, u16, u16)]) -> Place {
        Place {
            on_host,
            address: address.map(str::to_owned),
            published: published
                .iter()
                .map(|(address, container, host)| Published {
                    container: *container,
                    protocol: Protocol::Tcp,
                    address: (*address).to_owned(),
                    host: *host,
                })
                .collect(),
        }
    }

    #[test]
    fn a_container_is_reached_at_its_own_address_on_the_host_or_where_it_is_published() {
        let ports = [("0.0.0.0", 80, 8080)];
        for (place, address) in [
            (place(true, None, &[]), Some("127.0.0.1:80")),
            (
                place(false, Some("172.17.0.2"), &ports),
                Some("172.17.0.2:80"),
            ),
            (place(false, Some("fd00::2"), &[]), Some("[fd00::2]:80")),
            (place(false, None, &ports), Some("127.0.0.1:8080")),
            (place(false, None, &[]), None),
        ] {
            assert_eq!(place.address(80).as_deref(), address);
        }
    }

    #[test]
    fn an_answer_is_well_by_its_status_and_by_what_is_in_it() {
        let answer = |status| Answer {
            status,
            body: "version 2".to_owned(),
        };
        assert!(judged(&answer(204), &[], None).is_ok());
        assert!(judged(&answer(404), &[], None).is_err());
        assert!(judged(&answer(404), &[404], None).is_ok());
        assert!(judged(&answer(200), &[404], None).is_err());
        assert!(judged(&answer(200), &[], Some("version 2")).is_ok());
        assert!(judged(&answer(200), &[], Some("version 3")).is_err());
    }

    #[test]
    fn what_is_kept_of_an_output_is_short_and_whole_letters() {
        let long = "ä".repeat(2000);
        let kept = cut(&long);
        assert!(kept.len() <= OUTPUT && long.starts_with(&kept));
    }
}
