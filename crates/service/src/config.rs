//! Configuration: defaults ← file ← environment ← flags, one file for all services.
//!
//! Every setting has a path such as `store.url`; its environment variable is `WINDLASS_STORE_URL`, and
//! `WINDLASS_STORE_URL_FILE` names a file that holds the value. Unknown settings are refused with the
//! nearest known one. docs/configuration.md lists them all and is checked against [`Config`].

mod services;
mod shared;
mod tree;

#[cfg(test)]
mod tests;

pub use services::{
    EndpointSection, HealthSection, PlannerSection, RegistrySection, RollbackSection,
    StateApiSection, WebhooksSection,
};
pub use shared::{BusSection, HttpSection, LogFormat, LogSection, StoreSection};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tree::{drop_nulls, fits, mask, merge, misfit, nearest, set, tree_of};

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
    /// Registries that are asked for digests.
    pub registry: RegistrySection,
    /// rollout-planner.
    pub planner: PlannerSection,
    /// health-checker.
    pub health: HealthSection,
    /// rollback-manager.
    pub rollback: RollbackSection,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML. Only the place is told: the parser's own words quote the line, and there
    /// may be a secret on it.
    #[error("{path} is not valid TOML at line {line}, column {column}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 where the parser does not know.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
    },
    /// A setting that does not exist.
    #[error("there is no setting {name}{}", .nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    Unknown {
        /// As it was written.
        name: String,
        /// The one it is most like.
        nearest: Option<String>,
    },
    /// A value of the wrong kind; the value itself is not told, since it may be a secret.
    #[error("{name} does not fit: expected {expected}")]
    Value {
        /// The setting.
        name: String,
        /// What would fit.
        expected: String,
    },
    /// A variable that is not JSON where JSON is needed.
    #[error("{name} is not valid JSON at line {line}, column {column}")]
    Json {
        /// The variable.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Settings that contradict each other.
    #[error("{0}")]
    Contradiction(String),
}

/// The variables of the environment that are ours, read once in `main`.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    ours(std::env::vars_os())
}

/// Ours of these: those that are text and that Kubernetes did not put there for a service of our name.
fn ours(all: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, value)| name.starts_with("WINDLASS_") && !is_of_kubernetes(name, value))
        .collect()
}

/// Whether a variable tells of a Kubernetes service: `<NAME>_SERVICE_HOST`, `<NAME>_SERVICE_PORT…`,
/// `<NAME>_PORT=tcp://…` and `<NAME>_PORT_<n>_TCP…`. A cluster gives them to every container beside it.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let numbered = name.rsplit_once("_PORT_").is_some_and(|(_, rest)| {
        rest.split_once('_').is_some_and(|(number, protocol)| {
            number.parse::<u16>().is_ok()
                && (protocol.starts_with("TCP") || protocol.starts_with("UDP"))
        })
    });
    let address = name.ends_with("_PORT")
        && ["tcp://", "udp://"]
            .iter()
            .any(|scheme| value.starts_with(scheme));
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || numbered || address
}

/// Variables that begin like settings but are read elsewhere: by the command line and by tests.
const NOT_SETTINGS: &[&str] = &[
    "WINDLASS_CONFIG",
    "WINDLASS_URL",
    "WINDLASS_API_KEY",
    "WINDLASS_DATA",
];

impl Config {
    /// Reads defaults, then the file, then the environment.
    ///
    /// # Errors
    /// [`ConfigError`] for whatever cannot be read, is unknown or does not fit.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut tree = tree_of(&Self::default());
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                path: path.to_owned(),
                source,
            })?;
            let table: toml::Table = toml::from_str(&text).map_err(|error| {
                let before = error.span().and_then(|span| text.get(..span.start));
                ConfigError::Toml {
                    path: path.to_owned(),
                    line: before.map_or(0, |before| before.matches('\n').count() + 1),
                    column: before.map_or(0, |before| {
                        before.rsplit('\n').next().unwrap_or(before).chars().count() + 1
                    }),
                }
            })?;
            let read = serde_json::to_value(table)
                .map_err(|error| misfit(path.display().to_string(), &error))?;
            merge(&mut tree, read, "")?;
            fits(&tree, || format!("a setting in {}", path.display()))?;
        }
        let known: BTreeMap<String, Vec<String>> = setting_paths()
            .into_iter()
            .map(|path| {
                (
                    variable(&path),
                    path.split('.').map(str::to_owned).collect(),
                )
            })
            .collect();
        for (name, value) in environment {
            if NOT_SETTINGS.contains(&name.as_str()) || name.starts_with("WINDLASS_TEST_") {
                continue;
            }
            let (path, text) = match (known.get(name), name.strip_suffix("_FILE")) {
                (Some(path), _) => (path, value.clone()),
                (None, Some(base)) if known.contains_key(base) => {
                    if environment.contains_key(base) {
                        return Err(ConfigError::Contradiction(format!(
                            "{base} and {name} are both set; remove one"
                        )));
                    }
                    let text =
                        std::fs::read_to_string(value).map_err(|source| ConfigError::Read {
                            path: PathBuf::from(value),
                            source,
                        })?;
                    (&known[base], text.trim_end_matches(['\n', '\r']).to_owned())
                }
                _ => {
                    let nearest = nearest(name, known.keys().map(String::as_str));
                    return Err(ConfigError::Unknown {
                        name: name.clone(),
                        nearest,
                    });
                }
            };
            set(&mut tree, path, &text).map_err(|error| ConfigError::Json {
                name: name.clone(),
                line: error.line(),
                column: error.column(),
            })?;
            fits(&tree, || name.clone())?;
        }
        let config = fits(&tree, || "the configuration".to_owned())?;
        config.check()?;
        Ok(config)
    }

    /// Refuses settings that contradict each other.
    fn check(&self) -> Result<(), ConfigError> {
        let contradiction = |text: String| Err(ConfigError::Contradiction(text));
        for (name, endpoint) in &self.webhooks.endpoints {
            if endpoint.secret.is_none() && !endpoint.insecure {
                return contradiction(format!(
                    "webhooks.endpoints.{name} has no secret; give one, or write insecure = true"
                ));
            }
            if endpoint.secret.is_none() && endpoint.previous_secret.is_some() {
                return contradiction(format!(
                    "webhooks.endpoints.{name} has a previous_secret, but no secret"
                ));
            }
            if endpoint.secret.is_some() && endpoint.insecure {
                return contradiction(format!(
                    "webhooks.endpoints.{name} has a secret and insecure = true; remove one"
                ));
            }
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
        for (name, value) in [
            ("http.workers", self.http.workers as u64),
            ("state_api.report_group", self.state_api.report_group as u64),
            ("state_api.report_queue", self.state_api.report_queue as u64),
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

    /// The settings in force, secrets masked, as TOML.
    #[must_use]
    pub fn masked(&self) -> String {
        let mut tree = tree_of(self);
        mask(&mut tree, "");
        drop_nulls(&mut tree);
        toml::to_string_pretty(&tree).unwrap_or_default()
    }
}

/// The path of every setting, such as `store.url`.
#[must_use]
pub fn setting_paths() -> Vec<String> {
    fn walk(value: &Value, prefix: &str, paths: &mut Vec<String>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    let path = if prefix.is_empty() {
                        key.clone()
                    } else {
                        format!("{prefix}.{key}")
                    };
                    walk(value, &path, paths);
                }
            }
            _ => paths.push(prefix.to_owned()),
        }
    }
    let mut paths = Vec::new();
    walk(&tree_of(&Config::default()), "", &mut paths);
    paths
}

/// The environment variable of a setting.
#[must_use]
pub fn variable(path: &str) -> String {
    format!("WINDLASS_{}", path.replace('.', "_").to_ascii_uppercase())
}
