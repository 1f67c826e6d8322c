//! Registries: how they are asked, and how they are watched.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Registries that are asked what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySection {
    /// Hosts that speak plain HTTP; nothing else is asked without TLS.
    pub http_hosts: Vec<String>,
    /// How long a registry may take to answer, in seconds.
    pub timeout_seconds: u64,
    /// How many tries until an unresolved digest is told to the planner as unresolved.
    pub attempts: u32,
    /// User names by host.
    pub users: BTreeMap<String, String>,
    /// Passwords or tokens by host.
    pub passwords: BTreeMap<String, String>,
    /// A Docker configuration file (`config.json`) with further credentials.
    pub docker_config: Option<PathBuf>,
    /// Credential helpers that the Docker configuration may make us run, such as `ecr-login`.
    pub credential_helpers: Vec<String>,
    /// PEM files with certificate authorities by host, beside those of the system.
    pub ca_files: BTreeMap<String, PathBuf>,
    /// Requests to one registry in a minute at most, by all replicas together; the watch takes four
    /// fifths of them at most.
    pub requests_per_minute: u32,
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self {
            http_hosts: Vec::new(),
            timeout_seconds: 10,
            attempts: 3,
            users: BTreeMap::new(),
            passwords: BTreeMap::new(),
            docker_config: None,
            credential_helpers: Vec::new(),
            ca_files: BTreeMap::new(),
            requests_per_minute: 600,
        }
    }
}

/// What the first look at a repository makes of what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstLook {
    /// Nothing; only what comes later ships.
    Record,
    /// The newest version of each policy that orders versions ships, where devices run an older one.
    Newest,
}

/// Looking for pushes that no webhook told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchSection {
    /// Whether registries are looked at.
    pub enabled: bool,
    /// How often a repository is looked at of which no webhook came lately, in seconds.
    pub interval_seconds: u32,
    /// How often where webhooks come, in seconds.
    pub interval_with_webhooks_seconds: u32,
    /// For how long after a webhook they are taken to come, in days.
    pub webhook_days: u32,
    /// How long a webhook may come after what the watch found, until it counts as missed, in seconds.
    pub grace_seconds: u32,
    /// Tags of one repository that are asked for in one look at most, besides new ones.
    pub tags: u32,
    /// Repositories that are looked at at once, by each replica.
    pub concurrent_looks: u32,
    /// What the first look makes of what is there already: `newest` or `record`.
    pub first_look: FirstLook,
}

impl Default for WatchSection {
    fn default() -> Self {
        Self {
            enabled: true,
            interval_seconds: 300,
            interval_with_webhooks_seconds: 3600,
            webhook_days: 7,
            grace_seconds: 120,
            tags: 50,
            concurrent_looks: 4,
            first_look: FirstLook::Newest,
        }
    }
}
