//! From a tag to the digest of the manifest or index that it names.

use crate::error::Error;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::{Method, Response, StatusCode, header};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use windlass_types::image::{Digest, Repository};

/// Everything a tag may name. Without an index in it a registry would answer with the manifest of one
/// platform, and devices of others could not pull what is shipped.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The largest manifest that is read to compute its digest, where a registry does not tell it: the
/// size that the distribution specification asks registries to take.
const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// A user and what proves it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password or access token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// How registries are asked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Hosts, with port, that speak plain HTTP; nothing else is asked without TLS.
    pub http_hosts: BTreeSet<String>,
    /// Credentials by host. A host is given only its own.
    pub credentials: BTreeMap<String, Credentials>,
    /// How long one question may take, with all its redirects and tokens; nothing or zero is ten
    /// seconds.
    pub timeout: Option<Duration>,
}

/// A client for every registry.
#[derive(Clone)]
pub struct Registry {
    tokens: Client,
    http: reqwest::Client,
    options: Options,
    timeout: Duration,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// A client. The process's TLS provider must be installed.
    ///
    /// # Errors
    /// [`Error::Setup`] where TLS cannot be set up, for want of root certificates for one.
    pub fn new(options: Options) -> Result<Self, Error> {
        let timeout = options
            .timeout
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(Duration::from_secs(10));
        let agent = concat!("windlass/", env!("CARGO_PKG_VERSION"));
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(options.http_hosts.iter().cloned().collect()),
            connect_timeout: Some(timeout),
            read_timeout: Some(timeout),
            user_agent: agent,
            ..ClientConfig::default()
        };
        let tokens = Client::try_from(config).map_err(|error| Error::Setup(error.to_string()))?;
        let http = reqwest::Client::builder()
            .user_agent(agent)
            .timeout(timeout)
            .build()
            .map_err(|error| Error::Setup(error.to_string()))?;
        Ok(Self {
            tokens,
            http,
            options,
            timeout,
        })
    }

    /// The digest of what a tag names: of the index where there is one, else of the manifest.
    ///
    /// # Errors
    /// [`Error`] says why it cannot be told.
    pub async fn digest(&self, repository: &Repository, tag: &str) -> Result<Digest, Error> {
        let image = format!("{repository}:{tag}");
        match tokio::time::timeout(self.timeout, self.ask(repository, tag, &image)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unreachable {
                image,
                reason: format!("no answer within {} s", self.timeout.as_secs_f32()),
                retry_after: None,
            }),
        }
    }

    async fn ask(&self, repository: &Repository, tag: &str, image: &str) -> Result<Digest, Error> {
        let reference = Reference::with_tag(
            repository.registry().to_owned(),
            repository.path().to_owned(),
            tag.to_owned(),
        );
        let host = reference.resolve_registry().to_owned();
        let scheme = if self.options.http_hosts.contains(repository.registry()) {
            "http"
        } else {
            "https"
        };
        let url = format!("{scheme}://{host}/v2/{}/manifests/{tag}", repository.path());
        let credentials = self.options.credentials.get(repository.registry());
        let auth = credentials.map_or(RegistryAuth::Anonymous, |known| {
            RegistryAuth::Basic(known.user.clone(), known.password.clone())
        });
        // The OCI client gets the token; the question itself is asked here, because its errors hide
        // for how long a registry wants to be left alone.
        let token = self
            .tokens
            .auth(&reference, &auth, RegistryOperation::Pull)
            .await
            .map_err(|error| Error::of_token(image, &error))?;
        let send = async |method: Method| -> Result<Response, Error> {
            let mut request = self
                .http
                .request(method, &url)
                .header(header::ACCEPT, ACCEPT);
            request = match (&token, credentials) {
                (Some(token), _) => request.bearer_auth(token),
                (None, Some(known)) => request.basic_auth(&known.user, Some(&known.password)),
                (None, None) => request,
            };
            let answer = request
                .send()
                .await
                .map_err(|error| Error::of_request(image, &error))?;
            refusal(image, &answer).map_or(Ok(answer), Err)
        };
        let answer = send(Method::HEAD).await?;
        if let Some(told) = answer.headers().get("docker-content-digest") {
            return told
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Error::Other {
                    image: image.to_owned(),
                    reason: "its Docker-Content-Digest is no sha256 digest".to_owned(),
                });
        }
        // Registries need not send the header; the digest is that of the bytes.
        let mut answer = send(Method::GET).await?;
        let (mut hash, mut bytes) = (Sha256::new(), 0_usize);
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| Error::of_request(image, &error))?
        {
            bytes += chunk.len();
            if bytes > MAX_MANIFEST_BYTES {
                return Err(Error::Other {
                    image: image.to_owned(),
                    reason: format!("its manifest is larger than {MAX_MANIFEST_BYTES} bytes"),
                });
            }
            hash.update(&chunk);
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
            .parse()
            .map_err(|error: windlass_types::image::InvalidImage| Error::Other {
                image: image.to_owned(),
                reason: error.to_string(),
            })
    }
}

/// What an answer that is no manifest means.
fn refusal(image: &str, answer: &Response) -> Option<Error> {
    let image = || image.to_owned();
    let status = answer.status();
    let retry_after = answer
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
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
        _ if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
            Some(Error::Unreachable {
                image: image(),
                reason: format!("it answers {status}"),
                retry_after,
            })
        }
        _ => Some(Error::Other {
            image: image(),
            reason: format!("it answers {status}"),
        }),
    }
}
