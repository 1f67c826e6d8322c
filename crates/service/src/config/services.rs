//! What each service has of its own.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// state-api.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateApiSection {
    /// An operator's key; without one a key is made at the first start and printed once.
    pub api_key: Option<String>,
    /// How long a long poll is held at most, in seconds.
    pub max_wait_seconds: u64,
    /// How coarsely it is kept when a device was seen, in seconds.
    pub presence_seconds: u64,
    /// Tells devices how often to poll, in seconds; 0 tells them nothing.
    pub poll_interval_seconds: u64,
    /// Reports written together at most.
    pub report_group: usize,
    /// Reports that wait to be written at most; beyond it devices are told to come back.
    pub report_queue: usize,
    /// How long device logs are kept, in hours.
    pub log_retention_hours: u64,
    /// Registrations of new devices and refused provisioning requests a minute from one address; a
    /// device that proves itself is not counted.
    pub provisioning_per_minute: u32,
}

impl Default for StateApiSection {
    fn default() -> Self {
        Self {
            api_key: None,
            max_wait_seconds: 60,
            presence_seconds: 15,
            poll_interval_seconds: 0,
            report_group: 100,
            report_queue: 10_000,
            log_retention_hours: 72,
            provisioning_per_minute: 600,
        }
    }
}

/// One webhook endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointSection {
    /// The shared secret: senders sign with it, or send it as a token or a password.
    pub secret: Option<String>,
    /// The secret before it, taken as well while senders are given the new one.
    pub previous_secret: Option<String>,
    /// The user name of senders that send the secret as a password; any where none is given.
    pub user: Option<String>,
    /// Takes deliveries without a signature; must be written down where there is no secret.
    pub insecure: bool,
    /// One of the senders in docs/webhooks.md, such as `harbor`; without it the sender is recognised.
    pub sender: Option<String>,
    /// The registry's host as policies and devices name it, where the sender names another or none.
    pub registry: Option<String>,
    /// ARNs of the Amazon SNS topics whose signed messages are taken here, and no others.
    pub topics: Vec<String>,
    /// The token that Google Pub/Sub sends along, where it is to be checked.
    pub token: Option<TokenSection>,
    /// Origins that may ask for leave to send CloudEvents here (`WebHook-Request-Origin`); `*` for any.
    pub origins: Vec<String>,
}

impl EndpointSection {
    /// Whether deliveries must prove where they come from.
    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.secret.is_some() || !self.topics.is_empty() || self.token.is_some()
    }
}

/// What a token (OpenID Connect, RS256) must say. The defaults are Google's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenSection {
    /// Whom it is for: the subscription's audience.
    pub audience: String,
    /// The service account that sends.
    pub email: String,
    /// Who issues it.
    pub issuer: String,
    /// Where the issuer's keys are, as a JSON Web Key Set.
    pub keys_url: String,
    /// Lets the keys come without TLS, for emulators and tests.
    pub keys_over_http: bool,
}

impl Default for TokenSection {
    fn default() -> Self {
        Self {
            audience: String::new(),
            email: String::new(),
            issuer: "https://accounts.google.com".to_owned(),
            keys_url: "https://www.googleapis.com/oauth2/v3/certs".to_owned(),
            keys_over_http: false,
        }
    }
}

/// webhook-ingest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksSection {
    /// Endpoints by name; `docker-registry` is the one at `/webhooks/docker-registry`.
    pub endpoints: BTreeMap<String, EndpointSection>,
    /// Bytes of a delivery at most.
    pub max_body_bytes: usize,
    /// How long raw deliveries are kept, and what was asked of images that no tag names any more, in days.
    pub retention_days: u64,
    /// How long `Prefer: wait` is held at most, in seconds.
    pub max_wait_seconds: u64,
    /// How long a body may take to come, in seconds.
    pub body_timeout_seconds: u64,
    /// How long storing may take until the sender is told to come again, in milliseconds.
    pub store_timeout_ms: u64,
    /// Deliveries a minute from one address to one endpoint; also how many at once.
    pub requests_per_minute: u32,
    /// Networks of proxies whose `X-Forwarded-For` is believed, such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<String>,
}

impl Default for WebhooksSection {
    fn default() -> Self {
        Self {
            endpoints: BTreeMap::new(),
            max_body_bytes: 1024 * 1024,
            retention_days: 30,
            max_wait_seconds: 30,
            body_timeout_seconds: 10,
            store_timeout_ms: 2000,
            requests_per_minute: 600,
            trusted_proxies: Vec::new(),
        }
    }
}

/// rollout-planner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlannerSection {
    /// How often the store is scanned for work, in milliseconds.
    pub scan_ms: u64,
}

impl Default for PlannerSection {
    fn default() -> Self {
        Self { scan_ms: 2000 }
    }
}

/// health-checker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSection {
    /// How often the store is scanned for devices that are due, in milliseconds.
    pub scan_ms: u64,
    /// Devices judged in one transaction at most.
    pub group: i64,
    /// What checks may ask: networks (`10.1.0.0/16`), addresses and host names, each also with a port.
    pub allowed_targets: Vec<String>,
    /// Whether `custom` and `prometheus` checks may ask any host that is neither this machine nor
    /// link-local nor another address of the kind.
    pub allow_any_gate_target: bool,
    /// Checks that run at once at most.
    pub concurrent_checks: usize,
}

impl Default for HealthSection {
    fn default() -> Self {
        Self {
            scan_ms: 1000,
            group: 1000,
            allowed_targets: Vec::new(),
            allow_any_gate_target: false,
            concurrent_checks: 32,
        }
    }
}

/// rollback-manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RollbackSection {
    /// How often the store is scanned for work, in milliseconds.
    pub scan_ms: u64,
    /// Devices put back in one transaction at most.
    pub group: i64,
    /// In how many rollouts that were good elsewhere a device may fail until it is set aside; 0 sets
    /// nobody aside.
    pub penalty_failures: u32,
    /// Within how many days.
    pub penalty_window_days: u32,
    /// For how many hours a device is set aside the first time; doubled for each repetition.
    pub penalty_hours: u32,
    /// For how many days at most.
    pub penalty_max_days: u32,
}

impl RollbackSection {
    /// Checks the times for which devices are set aside.
    ///
    /// # Errors
    /// In words, where one is 0 or more than ten years.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, most) in [
            ("penalty_window_days", self.penalty_window_days, 3650),
            ("penalty_hours", self.penalty_hours, 87_600),
            ("penalty_max_days", self.penalty_max_days, 3650),
        ] {
            if value == 0 || value > most {
                return Err(format!(
                    "rollback.{name} is {value}; it must be from 1 to {most}"
                ));
            }
        }
        Ok(())
    }
}

impl Default for RollbackSection {
    fn default() -> Self {
        Self {
            scan_ms: 1000,
            group: 1000,
            penalty_failures: 3,
            penalty_window_days: 30,
            penalty_hours: 24,
            penalty_max_days: 30,
        }
    }
}
