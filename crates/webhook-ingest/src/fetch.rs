//! Fetching what verifies deliveries: certificates of Amazon SNS, keys of token issuers, and the
//! addresses that confirm subscriptions. Whom to ask is checked by the callers, before they ask.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use reqwest::Client;
use reqwest::redirect::Policy;
use std::time::Duration;
use url::Url;

/// How long an answer may take. SNS waits 15 s for ours.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer at most: certificates and key sets have a few kilobytes.
const MOST_BYTES: usize = 64 * 1024;

/// What was fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The body.
    pub body: Vec<u8>,
    /// For how long the answer may be used again, where it says so (`Cache-Control: max-age`).
    pub max_age: Option<Duration>,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It cannot be asked.
    #[error("{host} cannot be asked")]
    Ask {
        /// Whom.
        host: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// It answers otherwise than with a success; redirects are among that.
    #[error("{host} answers {status}")]
    Status {
        /// Who.
        host: String,
        /// What.
        status: u16,
    },
    /// It does not end.
    #[error("{host} answers with more than {MOST_BYTES} bytes")]
    TooLarge {
        /// Who.
        host: String,
    },
    /// It is asked too often already.
    #[error("too much is fetched already; try again in a minute")]
    TooOften,
}

/// Who fetches: the network, or a test.
pub trait Fetch: Send + Sync {
    /// Gets what is at an address.
    fn get<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Fetched, FetchError>>;
}

/// Fetches over the network: no redirects, and no more than is of use.
pub(crate) struct Web {
    client: Client,
}

impl Web {
    /// # Errors
    /// Where the system has no TLS.
    pub(crate) fn new() -> reqwest::Result<Self> {
        let client = Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .timeout(PATIENCE)
            .build()?;
        Ok(Self { client })
    }
}

impl Fetch for Web {
    fn get<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(get(&self.client, url))
    }
}

async fn get(client: &Client, url: &Url) -> Result<Fetched, FetchError> {
    let host = || url.host_str().unwrap_or_default().to_owned();
    let failed = |source: reqwest::Error| FetchError::Ask {
        host: host(),
        // The address of a confirmation has a token in it.
        source: source.without_url(),
    };
    let response = client.get(url.clone()).send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(FetchError::Status {
            host: host(),
            status: response.status().as_u16(),
        });
    }
    let max_age = response
        .headers()
        .get("cache-control")
        .and_then(|value| max_age(value.to_str().ok()?));
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(failed)?;
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(FetchError::TooLarge { host: host() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched { body, max_age })
}

/// The seconds in `max-age`; none at all where the answer is not to be kept.
fn max_age(text: &str) -> Option<Duration> {
    let mut found = None;
    for directive in text.split(',') {
        let directive = directive.trim().to_ascii_lowercase();
        if directive == "no-store" || directive == "no-cache" {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            found = seconds
                .trim_matches('"')
                .parse()
                .ok()
                .map(Duration::from_secs);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use wiremock::matchers::path;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    #[test]
    fn the_age_is_read_among_other_directives() {
        let cases = [
            (
                "public, max-age=19800, must-revalidate, no-transform",
                Some(19_800),
            ),
            ("max-age=\"60\"", Some(60)),
            ("MAX-AGE=5", Some(5)),
            ("max-age=60, no-store", Some(0)),
            ("no-cache", Some(0)),
            ("max-age=soon", None),
            ("private", None),
        ];
        for (text, expected) in cases {
            assert_eq!(max_age(text), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded_and_no_redirect_is_followed() {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let server = MockServer::start().await;
        let answers = [
            (
                "/good",
                ResponseTemplate::new(200)
                    .insert_header("cache-control", "max-age=9")
                    .set_body_string("yes"),
            ),
            (
                "/away",
                ResponseTemplate::new(302).insert_header("location", "/good"),
            ),
            ("/gone", ResponseTemplate::new(404)),
            (
                "/large",
                ResponseTemplate::new(200).set_body_bytes(vec![b'x'; MOST_BYTES + 1]),
            ),
            ("/slow", ResponseTemplate::new(200).set_delay(PATIENCE * 2)),
        ];
        for (at, answer) in answers {
            Mock::given(path(at))
                .respond_with(answer)
                .mount(&server)
                .await;
        }
        let client = Client::builder().no_proxy().redirect(Policy::none());
        let web = Web {
            client: client.timeout(Duration::from_millis(500)).build().unwrap(),
        };
        let got = async |at: &str| {
            web.get(&format!("{}{at}", server.uri()).parse().unwrap())
                .await
        };
        let good = got("/good").await.unwrap();
        assert_eq!(good.body, b"yes");
        assert_eq!(good.max_age, Some(Duration::from_secs(9)));
        assert!(matches!(
            got("/away").await,
            Err(FetchError::Status { status: 302, .. })
        ));
        assert!(matches!(
            got("/gone").await,
            Err(FetchError::Status { status: 404, .. })
        ));
        assert!(matches!(
            got("/large").await,
            Err(FetchError::TooLarge { .. })
        ));
        assert!(matches!(got("/slow").await, Err(FetchError::Ask { .. })));
    }
}
