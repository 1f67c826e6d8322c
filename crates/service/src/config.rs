//! Configuration: defaults ← file ← environment ← flags, one file for all services.
//!
//! Every setting has a path such as `store.url`; its environment variable is `WINDLASS_STORE_URL`, and
//! `WINDLASS_STORE_URL_FILE` names a file that holds the value. Unknown settings are refused with the
//! nearest known one. docs/configuration.md lists them all and is checked against [`Config`].

mod registries;
mod services;
mod shared;

#[cfg(test)]
mod tests;

pub use registries::{FirstLook, RegistrySection, WatchSection};
pub use services::{
    EndpointSection, HealthSection, PlannerSection, RollbackSection, StateApiSection, TokenSection,
    WebhooksSection,
};
pub use shared::{BusSection, HttpSection, StoreSection};
pub use windlass_settings::log::{LogFormat, LogSection};

pub use windlass_settings::Error as ConfigError;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use windlass_core::checks::Allowed;
use windlass_settings::Sources;

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The database.
    pub store: StoreSection,
    /// Wake-ups between processes.
    pub bus: BusSection,
    /// The listener.
    pub http: HttpSection,
    /// Logs.
    pub log: LogSection,
    /// state-api.
    pub state_api: StateApiSection,
    /// webhook-ingest.
    pub webhooks: WebhooksSection,
    /// Registries that are asked what they hold.
    pub registry: RegistrySection,
    /// Looking for pushes that no webhook told of.
    pub watch: WatchSection,
    /// rollout-planner.
    pub planner: PlannerSection,
    /// health-checker.
    pub health: HealthSection,
    /// rollback-manager.
    pub rollback: RollbackSection,
}

/// What the names of our variables begin with.
const PREFIX: &str = "WINDLASS_";

/// Variables that begin like settings but are read elsewhere: by the command line, by agents, by tests.
const NOT_SETTINGS: &[&str] = &[
    "WINDLASS_CONFIG",
    "WINDLASS_URL",
    "WINDLASS_API_KEY",
    "WINDLASS_DATA",
    "WINDLASS_AGENT_",
    "WINDLASS_TEST_",
];

/// The variables of the environment that are ours, read once in `main`.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    windlass_settings::environment(PREFIX)
}

impl Config {
    /// Reads defaults, then the file, then the environment.
    ///
    /// # Errors
    /// [`ConfigError`] for whatever cannot be read, is unknown or does not fit.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let config: Self = windlass_settings::load(&Sources {
            file,
            prefix: PREFIX,
            environment: Some(environment),
            elsewhere: NOT_SETTINGS,
            flags: &[],
        })?;
        config.check()?;
        Ok(config)
    }

    /// Refuses settings that contradict each other.
    fn check(&self) -> Result<(), ConfigError> {
        let contradiction = |text: String| Err(ConfigError::Contradiction(text));
        for (name, endpoint) in &self.webhooks.endpoints {
            if !endpoint.is_authenticated() && !endpoint.insecure {
                return contradiction(format!(
                    "webhooks.endpoints.{name} has no secret, topics or token; give one, or write \
                     insecure = true"
                ));
            }
            if endpoint.secret.is_none() && endpoint.previous_secret.is_some() {
                return contradiction(format!(
                    "webhooks.endpoints.{name} has a previous_secret, but no secret"
                ));
            }
            if endpoint.is_authenticated() && endpoint.insecure {
                return contradiction(format!(
                    "webhooks.endpoints.{name} has a secret, topics or a token and insecure = true; \
                     remove one"
                ));
            }
        }
        self.check_senders()?;
        for host in self.registry.ca_files.keys() {
            if self.registry.http_hosts.contains(host) {
                return contradiction(format!(
                    "registry.ca_files names {host}, which registry.http_hosts has without TLS"
                ));
            }
        }
        if let Some(host) = self
            .registry
            .users
            .keys()
            .find(|host| !self.registry.passwords.contains_key(*host))
        {
            return contradiction(format!(
                "registry.users names {host}, but registry.passwords does not"
            ));
        }
        if self.watch.interval_with_webhooks_seconds < self.watch.interval_seconds {
            return contradiction(
                "watch.interval_with_webhooks_seconds is shorter than watch.interval_seconds"
                    .to_owned(),
            );
        }
        if self.store.url.starts_with("sqlite:") && self.bus.redis_url.is_some() {
            return contradiction(
                "bus.redis_url is set, but store.url is SQLite, which one process uses alone"
                    .to_owned(),
            );
        }
        if let Some(key) = &self.state_api.api_key
            && key.len() < 16
        {
            return contradiction("state_api.api_key is shorter than 16 characters".to_owned());
        }
        if let Some(name) = self
            .registry
            .credential_helpers
            .iter()
            .find(|name| !windlass_registry::is_helper_name(name))
        {
            return contradiction(format!(
                "registry.credential_helpers has {name:?}; it is the part of the program's name after \
                 docker-credential-, such as ecr-login"
            ));
        }
        if let Err(error) = self.rollback.check() {
            return contradiction(error);
        }
        if let Err(error) = Allowed::new(&self.health.allowed_targets) {
            return contradiction(format!("health.allowed_targets: {error}"));
        }
        for (name, value) in [
            ("http.workers", self.http.workers as u64),
            ("state_api.report_group", self.state_api.report_group as u64),
            ("state_api.report_queue", self.state_api.report_queue as u64),
            (
                "webhooks.body_timeout_seconds",
                self.webhooks.body_timeout_seconds,
            ),
            ("webhooks.store_timeout_ms", self.webhooks.store_timeout_ms),
            (
                "webhooks.requests_per_minute",
                self.webhooks.requests_per_minute.into(),
            ),
            (
                "registry.requests_per_minute",
                self.registry.requests_per_minute.into(),
            ),
            ("watch.interval_seconds", self.watch.interval_seconds.into()),
            (
                "watch.interval_with_webhooks_seconds",
                self.watch.interval_with_webhooks_seconds.into(),
            ),
            ("watch.tags", self.watch.tags.into()),
            ("watch.concurrent_looks", self.watch.concurrent_looks.into()),
            ("planner.scan_ms", self.planner.scan_ms),
            ("health.scan_ms", self.health.scan_ms),
            ("rollback.scan_ms", self.rollback.scan_ms),
            (
                "health.concurrent_checks",
                self.health.concurrent_checks as u64,
            ),
            ("health.group", self.health.group.max(0).unsigned_abs()),
            ("rollback.group", self.rollback.group.max(0).unsigned_abs()),
            ("store.max_connections", self.store.max_connections.into()),
        ] {
            if value == 0 {
                return contradiction(format!("{name} must be at least 1"));
            }
        }
        Ok(())
    }

    /// Refuses what tells senders of webhooks apart and cannot.
    fn check_senders(&self) -> Result<(), ConfigError> {
        let contradiction = |text: String| Err(ConfigError::Contradiction(text));
        for (name, endpoint) in &self.webhooks.endpoints {
            let at = format!("webhooks.endpoints.{name}");
            if let Some(topic) = endpoint
                .topics
                .iter()
                .find(|topic| !topic.starts_with("arn:aws") || !topic.contains(":sns:"))
            {
                return contradiction(format!(
                    "{at}.topics: {topic:?} is no topic; write it as in \
                     arn:aws:sns:eu-west-1:123456789012:pushes"
                ));
            }
            if let Some(token) = &endpoint.token
                && (token.audience.is_empty() || token.email.is_empty())
            {
                return contradiction(format!("{at}.token needs audience and email"));
            }
        }
        for proxy in &self.webhooks.trusted_proxies {
            let (address, bits) = proxy.split_once('/').unwrap_or((proxy, "0"));
            let most = match address.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => 0,
            };
            if most == 0 || !bits.parse::<u8>().is_ok_and(|bits| bits <= most) {
                return contradiction(format!(
                    "webhooks.trusted_proxies: {proxy:?} is no network; write it as in 10.0.0.0/8"
                ));
            }
        }
        Ok(())
    }

    /// The settings in force, secrets masked, as TOML.
    #[must_use]
    pub fn masked(&self) -> String {
        windlass_settings::masked(self)
    }
}

/// The path of every setting, such as `store.url`.
#[must_use]
pub fn setting_paths() -> Vec<String> {
    windlass_settings::setting_paths::<Config>()
}

/// The environment variable of a setting.
#[must_use]
pub fn variable(path: &str) -> String {
    windlass_settings::variable(PREFIX, path)
}
