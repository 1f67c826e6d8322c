//! Configuration: defaults ← file ← environment ← flags, one file for all services.
//!
//! Every setting has a path such as `store.url`; its environment variable is `WINDLASS_STORE_URL`, and
//! `WINDLASS_STORE_URL_FILE` names a file that holds the value. Unknown settings are refused with the
//! nearest known one. docs/configuration.md lists them all and is checked against [`Config`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

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

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    /// `postgres://user@host/name` or `sqlite:PATH`.
    pub url: String,
    /// The PostgreSQL password.
    pub password: Option<String>,
    /// Connections to PostgreSQL at most, for each process.
    pub max_connections: u32,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            url: "sqlite:windlass.db".to_owned(),
            password: None,
            max_connections: 10,
        }
    }
}

/// Wake-ups between processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSection {
    /// `redis://host:port`; without it wake-ups stay inside the process.
    pub redis_url: Option<String>,
    /// Events are published on `<prefix>.<type>`.
    pub prefix: String,
}

impl Default for BusSection {
    fn default() -> Self {
        Self {
            redis_url: None,
            prefix: "windlass.events".to_owned(),
        }
    }
}

/// The listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// Threads that answer requests.
    pub workers: usize,
    /// Connections for each thread at most.
    pub max_connections: usize,
    /// How long a client may take to send a request's head, in seconds.
    pub request_timeout_seconds: u64,
    /// How long requests under way may take when the process ends, in seconds.
    pub shutdown_timeout_seconds: u64,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            workers: 2,
            max_connections: 50_000,
            request_timeout_seconds: 10,
            shutdown_timeout_seconds: 5,
        }
    }
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,sqlx=warn`.
    pub level: String,
    /// `auto`, `json` or `text`.
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

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
}

/// webhook-ingest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksSection {
    /// Endpoints by name; `docker-registry` is the one at `/webhooks/docker-registry`.
    pub endpoints: BTreeMap<String, EndpointSection>,
    /// Bytes of a delivery at most.
    pub max_body_bytes: usize,
    /// How long raw deliveries are kept, in days.
    pub retention_days: u64,
    /// How long `Prefer: wait` is held at most, in seconds.
    pub max_wait_seconds: u64,
}

impl Default for WebhooksSection {
    fn default() -> Self {
        Self {
            endpoints: BTreeMap::new(),
            max_body_bytes: 1024 * 1024,
            retention_days: 30,
            max_wait_seconds: 30,
        }
    }
}

/// Registries that are asked for digests.
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
}

impl Default for RegistrySection {
    fn default() -> Self {
        Self {
            http_hosts: Vec::new(),
            timeout_seconds: 10,
            attempts: 3,
            users: BTreeMap::new(),
            passwords: BTreeMap::new(),
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
}

impl Default for HealthSection {
    fn default() -> Self {
        Self {
            scan_ms: 1000,
            group: 1000,
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
}

impl Default for RollbackSection {
    fn default() -> Self {
        Self {
            scan_ms: 1000,
            group: 1000,
        }
    }
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

fn tree_of(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or_else(|_| Value::Object(Map::new()))
}

fn merge(base: &mut Value, over: Value, prefix: &str) -> Result<(), ConfigError> {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            // An empty map in the defaults takes any name: endpoints, users.
            let open = base.is_empty();
            for (key, value) in over {
                let path = if prefix.is_empty() {
                    key.clone()
                } else {
                    format!("{prefix}.{key}")
                };
                match base.get_mut(&key) {
                    Some(slot) => merge(slot, value, &path)?,
                    None if open => {
                        base.insert(key, value);
                    }
                    None => {
                        let nearest = nearest(&key, base.keys().map(String::as_str));
                        return Err(ConfigError::Unknown {
                            name: path,
                            nearest,
                        });
                    }
                }
            }
        }
        (base, over) => *base = over,
    }
    Ok(())
}

/// Sets a value from text: as it is where the default is text or nothing, else as JSON.
fn set(tree: &mut Value, path: &[String], text: &str) -> Result<(), serde_json::Error> {
    let mut slot = tree;
    for key in path {
        match slot.get_mut(key) {
            Some(inner) => slot = inner,
            None => return Ok(()),
        }
    }
    *slot = match slot {
        Value::String(_) | Value::Null => Value::String(text.to_owned()),
        _ => serde_json::from_str(text)?,
    };
    Ok(())
}

/// The settings of a tree; `name` is what was put into it last.
fn fits(tree: &Value, name: impl Fn() -> String) -> Result<Config, ConfigError> {
    Config::deserialize(tree).map_err(|error| misfit(name(), &error))
}

/// What was expected. What was found is in front of that, and may be a secret.
fn misfit(name: String, error: &serde_json::Error) -> ConfigError {
    let text = error.to_string();
    let expected = text
        .rsplit_once(", expected ")
        .map(|(_, expected)| expected);
    ConfigError::Value {
        name,
        expected: expected.unwrap_or("another kind of value").to_owned(),
    }
}

fn mask(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            let all = key == "passwords";
            for (name, value) in map {
                if all && !value.is_null() {
                    *value = Value::String("***".to_owned());
                } else {
                    mask(value, name);
                }
            }
        }
        Value::String(text)
            if matches!(key, "password" | "secret" | "previous_secret" | "api_key") =>
        {
            "***".clone_into(text);
        }
        Value::String(text) if key == "url" || key == "redis_url" => {
            if let (Some((scheme, _)), Some((_, host))) =
                (text.split_once("://"), text.rsplit_once('@'))
            {
                *text = format!("{scheme}://***@{host}");
            }
        }
        _ => {}
    }
}

fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    }
}

/// The known name that takes the fewest edits, if it is near enough to be a slip.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|candidate| (edits(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (slot, cb) in row.iter_mut().skip(1).zip(&b) {
            let above = *slot;
            left = (above + 1)
                .min(left + 1)
                .min(corner + usize::from(ca != *cb));
            corner = above;
            *slot = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn the_environment_goes_over_the_file_and_the_file_over_the_defaults() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "[http]\nlisten = '0.0.0.0:1'\nworkers = 7\n").unwrap();
        let config = Config::load(
            Some(file.path()),
            &env(&[("WINDLASS_HTTP_LISTEN", "[::1]:2")]),
        )
        .unwrap();
        assert_eq!(
            (config.http.listen.as_str(), config.http.workers),
            ("[::1]:2", 7)
        );
        assert_eq!(
            config.http.max_connections,
            HttpSection::default().max_connections
        );
    }

    #[test]
    fn an_unknown_setting_is_refused_with_the_nearest_one() {
        let error = Config::load(None, &env(&[("WINDLASS_STORE_URI", "x")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no setting WINDLASS_STORE_URI; did you mean WINDLASS_STORE_URL?"
        );
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "[http]\nlisen = 'x'\n").unwrap();
        let error = Config::load(Some(file.path()), &env(&[])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no setting http.lisen; did you mean listen?"
        );
    }

    #[test]
    fn secrets_come_from_files_and_are_masked_when_shown() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "a-secret-of-some-length").unwrap();
        let path = file.path().to_str().unwrap();
        let config =
            Config::load(None, &env(&[("WINDLASS_STATE_API_API_KEY_FILE", path)])).unwrap();
        assert_eq!(
            config.state_api.api_key.as_deref(),
            Some("a-secret-of-some-length")
        );
        assert!(!config.masked().contains("a-secret"), "{}", config.masked());
    }

    #[test]
    fn contradictions_are_fatal() {
        let unsigned = r#"{"docker-registry": {}}"#;
        let error =
            Config::load(None, &env(&[("WINDLASS_WEBHOOKS_ENDPOINTS", unsigned)])).unwrap_err();
        assert!(error.to_string().contains("insecure = true"), "{error}");
        let error =
            Config::load(None, &env(&[("WINDLASS_BUS_REDIS_URL", "redis://x")])).unwrap_err();
        assert!(error.to_string().contains("SQLite"), "{error}");
    }

    #[test]
    fn what_does_not_parse_is_named_and_never_shown() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "[store]\npassword = hunter2").unwrap();
        let mut misfit = tempfile::NamedTempFile::new().unwrap();
        writeln!(misfit, "[webhooks]\nendpoints = 'hunter2'").unwrap();
        let cut = r#"{"a": {"secret": "hunter2"} "b": {}}"#;
        for (file, variables, expected) in [
            (Some(file.path()), env(&[]), "line 2, column 12"),
            (Some(misfit.path()), env(&[]), "expected a map"),
            (
                None,
                env(&[("WINDLASS_WEBHOOKS_ENDPOINTS", cut)]),
                "WINDLASS_WEBHOOKS_ENDPOINTS is not valid JSON at line 1, column 29",
            ),
            (
                None,
                env(&[("WINDLASS_REGISTRY_PASSWORDS", "\"hunter2\"")]),
                "WINDLASS_REGISTRY_PASSWORDS does not fit: expected a map",
            ),
        ] {
            let error = Config::load(file, &variables).unwrap_err();
            let shown = format!("{} {error:?}", crate::problem::chain(&error));
            assert!(shown.contains(expected), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn settings_that_stop_the_work_are_refused() {
        for name in [
            "PLANNER_SCAN_MS",
            "HEALTH_SCAN_MS",
            "HEALTH_GROUP",
            "ROLLBACK_SCAN_MS",
            "ROLLBACK_GROUP",
            "STORE_MAX_CONNECTIONS",
        ] {
            let name = format!("WINDLASS_{name}");
            let error = Config::load(None, &env(&[(&name, "0")])).unwrap_err();
            assert!(error.to_string().contains("at least 1"), "{name}: {error}");
        }
        assert!(Config::load(None, &env(&[("WINDLASS_HEALTH_GROUP", "-1")])).is_err());
        let both = env(&[
            ("WINDLASS_STORE_PASSWORD", "x"),
            ("WINDLASS_STORE_PASSWORD_FILE", "/nowhere"),
        ]);
        let error = Config::load(None, &both).unwrap_err();
        assert!(error.to_string().contains("both set"), "{error}");
    }

    #[test]
    fn what_is_no_text_or_comes_from_kubernetes_is_no_setting() {
        use std::os::unix::ffi::OsStringExt as _;
        let text = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        let all = [
            text("WINDLASS_HTTP_WORKERS", "3"),
            text("WINDLASS_STATE_API_SERVICE_HOST", "10.0.0.1"),
            text("WINDLASS_STATE_API_SERVICE_PORT", "80"),
            text("WINDLASS_STATE_API_SERVICE_PORT_HTTP", "80"),
            text("WINDLASS_STATE_API_PORT", "tcp://10.0.0.1:80"),
            text("WINDLASS_STATE_API_PORT_80_TCP", "tcp://10.0.0.1:80"),
            text("WINDLASS_STATE_API_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("OTHER".into(), OsString::from_vec(vec![0xff])),
            (OsString::from_vec(vec![0xff]), "x".into()),
        ];
        let ours = ours(all.into_iter());
        assert_eq!(ours, env(&[("WINDLASS_HTTP_WORKERS", "3")]));
    }
}
