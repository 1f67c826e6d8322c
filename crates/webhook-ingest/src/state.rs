//! What the service works with.

use crate::endpoints::{self, Endpoint};
use crate::fetch::Fetch;
use crate::health::Refusals;
use crate::limit::networks;
use crate::metrics::Metrics;
use crate::sns::Certificates;
use crate::token::Keys;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::sync::Arc;
use windlass_registry::Registry;
use windlass_service::config::{Config, RegistrySection, WatchSection, WebhooksSection};
use windlass_service::keys::{KeyHash, Pepper, equal};
use windlass_service::{Deps, Problem, StartError, registries};
use windlass_store::api_keys;

/// Everything requests and loops share.
pub(crate) struct State {
    pub(crate) deps: Deps,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) settings: WebhooksSection,
    pub(crate) resolving: RegistrySection,
    pub(crate) watch: WatchSection,
    pub(crate) registry: Result<Registry, windlass_registry::Error>,
    pub(crate) metrics: Metrics,
    /// Who fetches what verifies deliveries.
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) certificates: Certificates,
    pub(crate) keys: Keys,
    /// What was refused and is not written down yet.
    pub(crate) refusals: Refusals,
    /// Proxies that tell for whom they ask.
    pub(crate) proxies: Vec<IpNet>,
    pepper: Pepper,
    api_key: Option<KeyHash>,
}

impl State {
    /// Checks the settings and makes what is needed once.
    ///
    /// # Errors
    /// [`StartError`] where a setting cannot be used or the store does not answer.
    pub(crate) async fn new(
        config: &Config,
        deps: &Deps,
        fetch: Arc<dyn Fetch>,
    ) -> Result<Self, StartError> {
        let endpoints = endpoints::read(&config.webhooks).map_err(StartError::Part)?;
        let proxies = networks(&config.webhooks.trusted_proxies).map_err(StartError::Part)?;
        for endpoint in endpoints.values().filter(|known| !known.is_authenticated()) {
            tracing::warn!(
                endpoint = endpoint.name,
                "anybody who reaches this endpoint can make rollouts; it takes deliveries unsigned"
            );
        }
        let pepper = Pepper::load(&deps.store).await?;
        let registry = registries::client(&config.registry, &deps.store);
        if let Err(error) = &registry {
            // Deliveries that tell their digest are none the worse for it.
            tracing::error!(%error, "no registry can be asked for digests");
        }
        let metrics = Metrics::new(&deps.metrics).map_err(|error| {
            StartError::Part(format!(
                "webhook-ingest's metrics cannot be registered: {error}"
            ))
        })?;
        Ok(Self {
            deps: deps.clone(),
            endpoints,
            settings: config.webhooks.clone(),
            resolving: config.registry.clone(),
            watch: config.watch.clone(),
            registry,
            metrics,
            certificates: Certificates::new(Arc::clone(&fetch)),
            keys: Keys::new(Arc::clone(&fetch)),
            fetch,
            refusals: Refusals::default(),
            proxies,
            api_key: config
                .state_api
                .api_key
                .as_deref()
                .map(|key| pepper.hash(key)),
            pepper,
        })
    }

    /// Lets operators through, and says who they are in the audit trail.
    ///
    /// # Errors
    /// [`Problem::Unauthorized`] without a good key, [`Problem::Unavailable`] where the store cannot
    /// be asked for it.
    pub(crate) async fn operator(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let refused = || {
            Problem::Unauthorized(
                "an operator's key is needed: Authorization: Bearer <key>".to_owned(),
            )
        };
        let value = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(refused)?;
        let key = match value.split_once(' ') {
            Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
            _ => return Err(refused()),
        };
        let hash = self.pepper.hash(key);
        if self
            .api_key
            .is_some_and(|configured| equal(&configured, &hash))
        {
            return Ok("operator:configured".to_owned());
        }
        let mut session = self.deps.store.read().await?;
        match api_keys::find(&mut session, &hash).await? {
            Some(name) => Ok(format!("operator:{name}")),
            None => Err(refused()),
        }
    }
}
