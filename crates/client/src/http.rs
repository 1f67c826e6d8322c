//! One connection pool, one base address, one operator's key.

use crate::error::Error;
use crate::{DeviceClient, Result};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use windlass_types::ids::DeviceId;
use windlass_types::problem::ProblemBody;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take; long polls add the time they ask for.
const ANSWER: Duration = Duration::from_secs(30);

/// A client of state-api. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    /// A client of the state-api at `base` (`http://host:port`, without `/api/v1`) with an operator's
    /// key, or without one for devices only.
    ///
    /// # Errors
    /// [`Error::Address`] where `base` is no http address.
    pub fn new(base: &str, key: Option<String>) -> Result<Self> {
        Self::with_proxy(base, key, true)
    }

    /// The same, past the proxy of the environment whatever the address: for a server of this very process, which may
    /// listen on an address that is not loopback.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn direct(base: &str, key: Option<String>) -> Result<Self> {
        Self::with_proxy(base, key, false)
    }

    fn with_proxy(base: &str, key: Option<String>, proxy: bool) -> Result<Self> {
        // One TLS provider for the whole process; a second install is no error.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let base = base.trim_end_matches('/');
        let address = url::Url::parse(base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let Some(address) = address else {
            return Err(Error::Address(base.to_owned()));
        };
        let mut http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            // state-api redirects nowhere; what does is another program, which must not get the keys.
            .redirect(reqwest::redirect::Policy::none());
        if !proxy || is_loopback(&address) {
            // Nor must the proxy of the environment get what is for this machine.
            http = http.no_proxy();
        }
        let http = http
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::Transport)?;
        Ok(Self {
            http,
            base: base.to_owned(),
            key,
        })
    }

    /// The address it was made with.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The operator's key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The device of this uuid and key, over the same connections.
    #[must_use]
    pub fn device(&self, uuid: DeviceId, key: impl Into<String>) -> DeviceClient {
        DeviceClient::new(self.clone(), uuid, key.into())
    }

    /// A request without a key.
    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1{path}", self.base))
    }

    /// A request outside the API, without a key.
    pub(crate) fn at_root(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .timeout(ANSWER)
    }

    /// A request with the operator's key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.bare(method, path).timeout(ANSWER);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T> {
        read(send(self.request(Method::GET, path).query(query)).await?).await
    }

    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        read(send(self.request(method, path).json(body)).await?).await
    }
}

fn is_loopback(address: &url::Url) -> bool {
    match address.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// How long an answer may take to a request that asks to be held for `wait` seconds.
pub(crate) fn answer_within(wait: u64) -> Duration {
    ANSWER + Duration::from_secs(wait)
}

/// Sends, and turns what is neither 2xx nor 304 into an error.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response> {
    let response = request.send().await.map_err(Error::Transport)?;
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let status = response.status().as_u16();
    let body = response.text().await.map_err(Error::Transport)?;
    Err(match serde_json::from_str::<ProblemBody>(&body) {
        Ok(problem) => Error::Problem {
            problem: Box::new(problem),
            retry_after,
        },
        Err(_) => unexpected(status, &body),
    })
}

/// Reads the body of a good answer.
pub(crate) async fn read<T: DeserializeOwned>(response: Response) -> Result<T> {
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(Error::Transport)?;
    serde_json::from_slice(&body)
        .map_err(|_error| unexpected(status, &String::from_utf8_lossy(&body)))
}

fn unexpected(status: u16, body: &str) -> Error {
    Error::Unexpected {
        status,
        // Enough to see who answered.
        body: body.chars().take(200).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run by the test below, with a proxy in its environment.
    #[tokio::test]
    #[ignore = "only with the environment of the test that runs it"]
    async fn a_request_past_the_proxy() {
        let base = std::env::var("WINDLASS_TEST_PAST_PROXY").unwrap();
        let client = Client::direct(&base, Some("key".to_owned())).unwrap();
        client.ready().await.ok();
    }

    #[test]
    fn what_is_sent_directly_goes_past_the_proxy_of_the_environment() {
        use std::io::Read as _;
        let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (server, proxy) = (listen(), listen());
        // This machine by an address that is not loopback.
        let base = format!("http://0.0.0.0:{}", server.local_addr().unwrap().port());
        let through = format!("http://{}", proxy.local_addr().unwrap());
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "http::tests::a_request_past_the_proxy",
                "--ignored",
            ])
            .env("WINDLASS_TEST_PAST_PROXY", base)
            .env("HTTP_PROXY", &through)
            .env("http_proxy", &through)
            .env_remove("NO_PROXY")
            .env_remove("no_proxy")
            .spawn()
            .unwrap();
        // Whichever is asked answers by hanging up.
        let (told, asked) = std::sync::mpsc::channel();
        for (name, listener) in [("the server", server), ("the proxy", proxy)] {
            let told = told.clone();
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let read = stream.read(&mut [0; 16]).unwrap();
                told.send((name, read > 0)).unwrap();
            });
        }
        let first = asked.recv_timeout(ANSWER).unwrap();
        assert_eq!(first, ("the server", true));
        child.wait().unwrap();
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        let of = |text: &str| is_loopback(&text.parse().unwrap());
        for here in [
            "http://127.0.0.1:8080",
            "http://127.1.2.3",
            "http://[::1]:80",
            "https://LOCALHOST",
        ] {
            assert!(of(here), "{here}");
        }
        for elsewhere in [
            "http://10.0.0.1",
            "http://localhost.example",
            "http://[::2]",
        ] {
            assert!(!of(elsewhere), "{elsewhere}");
        }
    }
}
