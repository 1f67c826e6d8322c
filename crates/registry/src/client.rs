//! One request to a registry: with leave, with what lets it in, and with its redirects.

use crate::auth::{self, Authorization, Memory, Scheme, authority, may_ask};
use crate::budget::{Budget, Leave, LocalBudget, Told};
use crate::error::Error;
use crate::options::Options;
use crate::rate::{Rate, is_trouble, retry_after};
use chrono::Utc;
use reqwest::header::{ACCEPT, HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, Response, StatusCode, Url};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use windlass_types::image::{DEFAULT_REGISTRY, Repository};

/// Where Docker Hub's registry is.
const HUB: &str = "registry-1.docker.io";
/// Redirects of one request at most; blobs usually take one, to the store behind the registry.
const REDIRECTS: usize = 5;

/// A client for every registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    budget: Arc<dyn Budget>,
    background: bool,
}

struct Inner {
    http: reqwest::Client,
    /// Those of hosts with certificate authorities of their own.
    by_host: BTreeMap<String, reqwest::Client>,
    options: Options,
    timeout: Duration,
    memory: Memory,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("options", &self.inner.options)
            .field("background", &self.background)
            .finish_non_exhaustive()
    }
}

/// A request to be made.
pub(crate) struct Ask<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) method: Method,
    /// Below the registry's address, with the query: `/v2/demo/app/tags/list?n=100`.
    pub(crate) path: String,
    pub(crate) accept: Option<&'static str>,
    /// What is asked for, for errors.
    pub(crate) image: &'a str,
}

impl Registry {
    /// A client with a budget of its own. The process's TLS provider must be installed.
    ///
    /// # Errors
    /// [`Error::Setup`] where TLS cannot be set up, for want of root certificates or because a
    /// certificate authority's file cannot be read.
    pub fn new(options: Options) -> Result<Self, Error> {
        let timeout = options
            .timeout
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(Duration::from_secs(10));
        let http = client(timeout, &[])?;
        let mut by_host = BTreeMap::new();
        for (host, path) in &options.ca_files {
            let setup = |error: &dyn std::fmt::Display| {
                Error::Setup(format!("{} for {host}: {error}", path.display()))
            };
            let pem = std::fs::read(path).map_err(|error| setup(&error))?;
            let authorities =
                Certificate::from_pem_bundle(&pem).map_err(|error| setup(&error.without_url()))?;
            if authorities.is_empty() {
                return Err(setup(&"it holds no PEM certificate"));
            }
            by_host.insert(host.clone(), client(timeout, &authorities)?);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                http,
                by_host,
                options,
                timeout,
                memory: Memory::default(),
            }),
            budget: Arc::new(LocalBudget::default()),
            background: false,
        })
    }

    /// The same client within a budget that is shared with others.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<dyn Budget>) -> Self {
        self.budget = budget;
        self
    }

    /// The same client, with its tokens and its budget, for work that can wait: it leaves a share of
    /// each registry's limit for what ships and keeps away from a registry in trouble.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self {
            background: true,
            ..self.clone()
        }
    }

    /// One question with a time limit for all its parts.
    pub(crate) async fn within<T>(
        &self,
        image: &str,
        question: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let timeout = self.inner.timeout;
        match tokio::time::timeout(timeout, question).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unreachable {
                image: image.to_owned(),
                reason: format!("no answer within {} s", timeout.as_secs_f32()),
                retry_after: None,
            }),
        }
    }

    /// The address of a path at a repository's registry.
    pub(crate) fn url(&self, repository: &Repository, path: &str) -> Result<Url, Error> {
        let registry = repository.registry();
        let scheme = if self.inner.options.http_hosts.contains(registry) {
            "http"
        } else {
            "https"
        };
        let host = if registry == DEFAULT_REGISTRY {
            HUB
        } else {
            registry
        };
        Url::parse(&format!("{scheme}://{host}{path}"))
            .map_err(|error| Error::other(&repository.to_string(), error))
    }

    /// Asks, and returns an answer that is 200.
    ///
    /// # Errors
    /// [`Error`] says what it was instead.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, Error> {
        let host = ask.repository.registry();
        let inner = &*self.inner;
        let scheme = match inner.memory.scheme(host) {
            Some(scheme) => scheme,
            None => self.learn(ask).await?,
        };
        let answer = self.send(ask, &scheme).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return refusal(ask.image, answer.status(), answer.headers()).map_or(Ok(answer), Err);
        }
        // A token that ended early or was taken back, credentials that were changed, or a registry
        // that asks for more here than at its door: once more with what it asks for.
        inner.memory.refused(ask.repository);
        let Some(asked) = Scheme::asked(answer.headers()) else {
            return Err(Error::Unauthorized {
                image: ask.image.to_owned(),
            });
        };
        inner.memory.learn(host, asked.clone());
        let answer = self.send(ask, &asked).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            inner.memory.refused(ask.repository);
        }
        refusal(ask.image, answer.status(), answer.headers()).map_or(Ok(answer), Err)
    }

    /// Learns at a registry's door how it lets in.
    async fn learn(&self, ask: &Ask<'_>) -> Result<Scheme, Error> {
        let door = Ask {
            repository: ask.repository,
            method: Method::GET,
            path: "/v2/".to_owned(),
            accept: None,
            image: ask.image,
        };
        let answer = self.send(&door, &Scheme::Open).await?;
        let status = answer.status();
        let scheme = if status == StatusCode::UNAUTHORIZED {
            Scheme::asked(answer.headers()).unwrap_or(Scheme::Open)
        } else if status == StatusCode::TOO_MANY_REQUESTS || is_trouble(status) {
            return Err(refusal(ask.image, status, answer.headers())
                .unwrap_or_else(|| Error::other(ask.image, status)));
        } else {
            Scheme::Open
        };
        self.inner
            .memory
            .learn(ask.repository.registry(), scheme.clone());
        Ok(scheme)
    }

    /// Sends one request with what lets it in, and follows its redirects.
    async fn send(&self, ask: &Ask<'_>, scheme: &Scheme) -> Result<Response, Error> {
        let inner = &*self.inner;
        let host = ask.repository.registry();
        let http = inner.by_host.get(host).unwrap_or(&inner.http);
        // Checked before a token is got, so that a registry that is left alone is left alone.
        self.leave(ask).await?;
        let authorization =
            auth::authorization(&inner.memory, http, &inner.options, ask.repository, scheme)
                .await
                .map_err(|error| error.about(ask.image))?;
        let start = self.url(ask.repository, &ask.path)?;
        let mut url = start.clone();
        for _ in 0..=REDIRECTS {
            let mut request = http.request(ask.method.clone(), url.clone());
            if let Some(accept) = ask.accept {
                request = request.header(ACCEPT, accept);
            }
            let ours = url.origin() == start.origin();
            if ours {
                request = match &authorization {
                    Authorization::Nothing => request,
                    Authorization::Basic { user, password } => {
                        request.basic_auth(user, Some(password))
                    }
                    Authorization::Bearer(token) => request.bearer_auth(token),
                };
            }
            let answer = request.send().await;
            if ours {
                self.tell(host, answer.as_ref().ok()).await;
            }
            let answer =
                answer.map_err(|error| Error::of_request(ask.image, &error.without_url()))?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let next = answer
                .headers()
                .get(LOCATION)
                .and_then(|place| place.to_str().ok())
                .and_then(|place| url.join(place).ok())
                .ok_or_else(|| Error::other(ask.image, "it redirects to nowhere"))?;
            if !may_ask(&inner.options, &next) {
                return Err(Error::other(
                    ask.image,
                    format_args!(
                        "it redirects to {} without TLS; add that host to registry.http_hosts",
                        authority(&next)
                    ),
                ));
            }
            url = next;
        }
        Err(Error::other(ask.image, "it redirects too often"))
    }

    async fn leave(&self, ask: &Ask<'_>) -> Result<(), Error> {
        let host = ask.repository.registry();
        let leave = Leave {
            background: self.background,
            // https://docs.docker.com/docker-hub/usage/pulls/: a pull is a GET of a manifest.
            counted: host != DEFAULT_REGISTRY
                || (ask.method == Method::GET && ask.path.contains("/manifests/")),
        };
        self.budget
            .leave(host, leave)
            .await
            .map_err(|refused| Error::Held {
                image: ask.image.to_owned(),
                reason: refused.reason,
                retry_after: refused.wait,
            })
    }

    async fn tell(&self, host: &str, answer: Option<&Response>) {
        let told = answer.map_or(
            Told {
                failed: true,
                ..Told::default()
            },
            |answer| {
                let now = Utc::now();
                Told {
                    rate: Rate::read(answer.headers(), now),
                    limited: answer.status() == StatusCode::TOO_MANY_REQUESTS,
                    retry_after: retry_after(answer.headers(), now),
                    failed: is_trouble(answer.status()),
                }
            },
        );
        self.budget.told(host, told).await;
    }
}

fn client(timeout: Duration, authorities: &[Certificate]) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        // Followed here, so that what lets us in goes to nobody else and nothing goes without TLS.
        .redirect(Policy::none())
        .tls_certs_merge(authorities.iter().cloned())
        .build()
        .map_err(|error| Error::Setup(error.to_string()))
}

/// What an answer that is not 200 means.
pub(crate) fn refusal(image: &str, status: StatusCode, headers: &HeaderMap) -> Option<Error> {
    let image = || image.to_owned();
    let retry_after = retry_after(headers, Utc::now());
    match status {
        StatusCode::OK => None,
        StatusCode::NOT_FOUND => Some(Error::NotFound { image: image() }),
        // Registries that hide what one may not see say 403; some also for what is not there.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Some(Error::Unauthorized { image: image() })
        }
        StatusCode::TOO_MANY_REQUESTS => Some(Error::RateLimited {
            image: image(),
            retry_after,
        }),
        _ if is_trouble(status) => Some(Error::Unreachable {
            image: image(),
            reason: format!("it answers {status}"),
            retry_after,
        }),
        _ => Some(Error::Other {
            image: image(),
            reason: format!("it answers {status}"),
        }),
    }
}
