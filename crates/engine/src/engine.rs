//! One engine: connected when it is first needed, and again when it was away.

use crate::address::Address;
use crate::error::Error;
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use std::future::Future;
use std::time::Duration;
use tokio::sync::Mutex;

/// Seconds for what the engine knows without doing anything. It may be busy: small machines take their time.
pub(crate) const QUICK: Duration = Duration::from_secs(30);
/// Seconds for what changes something: making containers and networks on a slow disk.
pub(crate) const SLOW: Duration = Duration::from_secs(120);
/// Every call has its own limit; this one is only above all of them.
const CLIENT_LIMIT_SECONDS: u64 = 7 * 24 * 3600;

/// A container engine. Cheap to ask for anything at any time: it is connected to when it is needed, in
/// the highest version that both sides know, and anew after it was away.
#[derive(Debug)]
pub struct Engine {
    address: Address,
    client: Mutex<Option<Docker>>,
}

impl Engine {
    /// The engine at an address. Nothing is asked of it yet.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self {
            address,
            client: Mutex::new(None),
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// A client in an agreed version.
    pub(crate) async fn client(&self) -> Result<Docker, Error> {
        const ACTION: &str = "connect";
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let fresh = self
            .fresh()
            .map_err(|error| Error::of(ACTION, &error))?
            .with_request_modifier(with_url_safe_login);
        let agreed = tokio::time::timeout(QUICK, fresh.negotiate_version())
            .await
            .map_err(|_late| Error::Late {
                action: ACTION,
                limit: QUICK,
            })?
            .map_err(|error| Error::of(ACTION, &error))?;
        let version = agreed.client_version();
        let agreed = agreed.with_request_modifier(move |request| {
            in_version(&version, with_url_safe_login(request))
        });
        Ok(client.insert(agreed).clone())
    }

    fn fresh(&self) -> Result<Docker, bollard::errors::Error> {
        match &self.address {
            Address::Socket(path) => Docker::connect_with_unix(
                &path.to_string_lossy(),
                CLIENT_LIMIT_SECONDS,
                API_DEFAULT_VERSION,
            ),
            Address::Http(host) => Docker::connect_with_http(
                &format!("tcp://{host}"),
                CLIENT_LIMIT_SECONDS,
                API_DEFAULT_VERSION,
            ),
        }
    }

    /// Asks for something and waits no longer than the limit.
    pub(crate) async fn call<T, F>(
        &self,
        action: &'static str,
        limit: Duration,
        ask: impl FnOnce(Docker) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let client = self.client().await?;
        let asked = tokio::time::timeout(limit, ask(client)).await;
        let error = match asked {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Error::of(action, &error),
            Err(_) => Error::Late { action, limit },
        };
        self.note(&error).await;
        Err(error)
    }

    /// After an engine was away, it may be another one: versions are agreed upon anew.
    pub(crate) async fn note(&self, error: &Error) {
        if error.is_away() {
            *self.client.lock().await = None;
        }
    }
}

/// Says in which version of the API the request is meant. The client, as of 0.21, begins each path with the
/// version and then loses it; without one an engine answers in its own newest.
fn in_version(
    version: &ClientVersion,
    mut request: bollard::BollardRequest,
) -> bollard::BollardRequest {
    let uri = request.uri();
    let (Some(scheme), Some(authority), Some(path)) =
        (uri.scheme_str(), uri.authority(), uri.path_and_query())
    else {
        return request;
    };
    if path.path().starts_with("/v1.") {
        return request;
    }
    let (major, minor) = (version.major_version, version.minor_version);
    let with = format!("{scheme}://{authority}/v{major}.{minor}{path}").parse();
    if let Ok(with) = with {
        *request.uri_mut() = with;
    }
    request
}

/// The API wants logins in the alphabet for addresses (RFC 4648, section 5); the client uses the other one,
/// and an engine takes a login that it cannot read for none.
fn with_url_safe_login(mut request: bollard::BollardRequest) -> bollard::BollardRequest {
    const HEADER: &str = "x-registry-auth";
    let safe = request
        .headers()
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .filter(|value| value.contains(['+', '/']))
        .and_then(|value| value.replace('+', "-").replace('/', "_").parse().ok());
    if let Some(safe) = safe {
        request.headers_mut().insert(HEADER, safe);
    }
    request
}

#[cfg(test)]
mod tests;
