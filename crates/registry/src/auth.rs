//! Getting in: what a registry asks for, and tokens until shortly before they end.

use crate::challenge::{self, Challenge};
use crate::credentials::{self, Proof};
use crate::error::Error;
use crate::options::Options;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use windlass_types::image::Repository;

/// What a registry asked for is believed this long; a refusal teaches us sooner.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// Credentials are looked up again after this, or at once where they were refused.
const PROOF_FOR: Duration = Duration::from_secs(300);
/// A token that does not say how long it is good for is good this long, and none for less (token
/// specification, `expires_in`).
const SHORTEST: Duration = Duration::from_secs(60);
/// No token is believed to be good for longer.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Tokens are let go this long before their end, so that none ends on its way.
const MARGIN: Duration = Duration::from_secs(10);
/// Bytes of a token server's answer at most.
const MOST: usize = 256 * 1024;
/// What is remembered by repository at most; beyond it what is out of date goes first, then all.
const REMEMBERED: usize = 10_000;

/// How a registry lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// It asks for nothing.
    Open,
    /// User and password with each request.
    Basic,
    /// A token of its token server.
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

impl Scheme {
    /// What a refusal asks for; a token where there is a choice. Nothing where it asks for what we do
    /// not know.
    pub(crate) fn asked(headers: &HeaderMap) -> Option<Self> {
        let asked: Vec<Challenge> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::read)
            .collect();
        let bearer = asked.iter().find_map(|challenge| {
            let realm = challenge.parameters.get("realm")?;
            (challenge.scheme == "bearer").then(|| Self::Bearer {
                realm: realm.clone(),
                service: challenge.parameters.get("service").cloned(),
            })
        });
        let basic = asked.iter().any(|challenge| challenge.scheme == "basic");
        bearer.or(basic.then_some(Self::Basic))
    }
}

/// What goes into `Authorization`.
#[derive(Clone)]
pub(crate) enum Authorization {
    Nothing,
    Basic { user: String, password: String },
    Bearer(String),
}

/// A token and when it is let go.
struct Token {
    text: String,
    until: Instant,
}

/// One place for a repository's token; whoever holds it gets the token, the others wait for it.
type Place = Arc<tokio::sync::Mutex<Option<Token>>>;

/// What is remembered of registries.
#[derive(Default)]
pub(crate) struct Memory {
    schemes: Mutex<HashMap<String, (Scheme, Instant)>>,
    proofs: Mutex<HashMap<Repository, (Option<Proof>, Instant)>>,
    tokens: Mutex<HashMap<Repository, Place>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// How the host lets in, where that is known.
    pub(crate) fn scheme(&self, host: &str) -> Option<Scheme> {
        let schemes = held(&self.schemes);
        let (scheme, learned) = schemes.get(host)?;
        (learned.elapsed() < KNOWN_FOR).then(|| scheme.clone())
    }

    /// Remembers how a host lets in.
    pub(crate) fn learn(&self, host: &str, scheme: Scheme) {
        held(&self.schemes).insert(host.to_owned(), (scheme, Instant::now()));
    }

    /// Forgets what was refused for a repository.
    pub(crate) fn refused(&self, repository: &Repository) {
        held(&self.proofs).remove(repository);
        held(&self.tokens).remove(repository);
    }

    async fn proof(
        &self,
        options: &Options,
        repository: &Repository,
    ) -> Result<Option<Proof>, Error> {
        let known = held(&self.proofs)
            .get(repository)
            .filter(|(_, at)| at.elapsed() < PROOF_FOR)
            .map(|(proof, _)| proof.clone());
        if let Some(known) = known {
            return Ok(known);
        }
        let proof = credentials::find(options, repository)
            .await
            .map_err(|reason| Error::Credentials {
                image: repository.to_string(),
                reason,
            })?;
        let mut proofs = held(&self.proofs);
        if proofs.len() >= REMEMBERED {
            proofs.clear();
        }
        proofs.insert(repository.clone(), (proof.clone(), Instant::now()));
        Ok(proof)
    }

    fn place(&self, repository: &Repository) -> Place {
        let mut tokens = held(&self.tokens);
        if tokens.len() >= REMEMBERED {
            // Those that are being got stay.
            tokens.retain(|_, place| {
                place.try_lock().map_or(true, |token| {
                    token
                        .as_ref()
                        .is_some_and(|token| token.until > Instant::now())
                })
            });
            if tokens.len() >= REMEMBERED {
                tokens.clear();
            }
        }
        Arc::clone(tokens.entry(repository.clone()).or_default())
    }
}

/// What goes along with a request for a repository of a host that lets in so.
///
/// # Errors
/// [`Error`] where there are no credentials to be read or no token to be had.
pub(crate) async fn authorization(
    memory: &Memory,
    http: &reqwest::Client,
    options: &Options,
    repository: &Repository,
    scheme: &Scheme,
) -> Result<Authorization, Error> {
    let (realm, service) = match scheme {
        Scheme::Open => return Ok(Authorization::Nothing),
        Scheme::Basic => {
            return Ok(match memory.proof(options, repository).await? {
                Some(Proof::Password(known)) => Authorization::Basic {
                    user: known.user,
                    password: known.password,
                },
                Some(Proof::Access(token)) => Authorization::Bearer(token),
                Some(Proof::Identity(_)) | None => Authorization::Nothing,
            });
        }
        Scheme::Bearer { realm, service } => (realm, service.as_deref()),
    };
    let place = memory.place(repository);
    let mut token = place.lock().await;
    if let Some(known) = token.as_ref().filter(|token| token.until > Instant::now()) {
        return Ok(Authorization::Bearer(known.text.clone()));
    }
    let proof = memory.proof(options, repository).await?;
    if let Some(Proof::Access(text)) = proof {
        return Ok(Authorization::Bearer(text));
    }
    let got = get_token(http, options, repository, realm, service, proof.as_ref()).await;
    if matches!(got, Err(Error::Unauthorized { .. })) {
        held(&memory.proofs).remove(repository);
    }
    let got = got?;
    let text = got.text.clone();
    *token = Some(got);
    Ok(Authorization::Bearer(text))
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
}

/// Gets a token. A token server may be another host than the registry; it is asked over TLS unless
/// its host is allowed without.
async fn get_token(
    http: &reqwest::Client,
    options: &Options,
    repository: &Repository,
    realm: &str,
    service: Option<&str>,
    proof: Option<&Proof>,
) -> Result<Token, Error> {
    let image = repository.to_string();
    let mut url = Url::parse(realm).map_err(|error| {
        Error::other(&image, format_args!("its token server's address: {error}"))
    })?;
    if !may_ask(options, &url) {
        return Err(Error::other(
            &image,
            "its token server is not asked without TLS; add its host to registry.http_hosts",
        ));
    }
    let scope = format!("repository:{}:pull", repository.path());
    let asked = Instant::now();
    let request = if let Some(Proof::Identity(token)) = proof {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("client_id", "windlass"),
            ("scope", &scope),
            ("refresh_token", token),
        ];
        form.extend(service.map(|service| ("service", service)));
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        http.post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
    } else {
        {
            let mut pairs = url.query_pairs_mut();
            if let Some(service) = service {
                pairs.append_pair("service", service);
            }
            pairs.append_pair("scope", &scope);
        }
        match proof {
            Some(Proof::Password(known)) => {
                let mut pairs = url.query_pairs_mut();
                pairs.append_pair("account", &known.user);
                drop(pairs);
                http.get(url).basic_auth(&known.user, Some(&known.password))
            }
            _ => http.get(url),
        }
    };
    let answer = request
        .send()
        .await
        .map_err(|error| Error::of_request(&image, &error.without_url()))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            return Err(Error::Unauthorized { image });
        }
        status => {
            return Err(
                crate::client::refusal(&image, status, answer.headers()).unwrap_or_else(|| {
                    Error::other(&image, format_args!("its token server answers {status}"))
                }),
            );
        }
    }
    let bytes = crate::content::bounded(&image, answer, MOST).await?;
    let told: TokenAnswer = serde_json::from_slice(&bytes).map_err(|error| {
        // Only the place is told: the parser's words may quote a token.
        let place = format!("line {}, column {}", error.line(), error.column());
        Error::other(
            &image,
            format_args!("its token server's answer is no token: {place}"),
        )
    })?;
    let text = told
        .token
        .or(told.access_token)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Error::other(&image, "its token server's answer holds no token"))?;
    let good_for = told
        .expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or_default()
        .clamp(SHORTEST, LONGEST);
    Ok(Token {
        text,
        until: asked + good_for.saturating_sub(MARGIN),
    })
}

/// Whether an address may be asked: over TLS, or where its host is allowed without.
pub(crate) fn may_ask(options: &Options, url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => {
            options.http_hosts.contains(&authority(url))
                || (url.port().is_none()
                    && options
                        .http_hosts
                        .contains(&format!("{}:80", authority(url))))
        }
        _ => false,
    }
}

/// An address's host, with its port where it names one.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
