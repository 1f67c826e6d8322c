//! Settings: defaults ← file ← environment ← flags.
//!
//! Every setting has a path such as `server.url`; its environment variable is
//! `WINDLASS_AGENT_SERVER_URL`, and `WINDLASS_AGENT_SERVER_URL_FILE` names a file that holds the value.

pub use windlass_settings::Error as ConfigError;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use windlass_engine::Address;
use windlass_reconcile::settings::Settings;
use windlass_settings::Sources;
use windlass_settings::log::LogSection;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The server.
    pub server: ServerSection,
    /// What the device says of itself.
    pub device: DeviceSection,
    /// The container engine.
    pub engine: EngineSection,
    /// How updates go about.
    pub update: Settings,
    /// Registries that images come from.
    pub registry: RegistrySection,
    /// Reports.
    pub report: ReportSection,
    /// The agent's own log.
    pub log: LogSection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from("/var/lib/windlass-agent"),
            server: ServerSection::default(),
            device: DeviceSection::default(),
            engine: EngineSection::default(),
            update: Settings::default(),
            registry: RegistrySection::default(),
            report: ReportSection::default(),
            log: LogSection::default(),
        }
    }
}

/// The server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSection {
    /// Its address: `https://host:port`, without `/api/v1`.
    pub url: String,
    /// The key with which the device registers, the first time.
    pub provisioning_key: Option<String>,
    /// How long the server may hold a poll, in seconds; 0 asks it to answer at once.
    pub wait_seconds: u64,
    /// How long to wait between polls that are answered at once, in seconds.
    pub poll_seconds: u64,
    /// The longest wait after failures, in seconds.
    pub longest_backoff_seconds: u64,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            url: String::new(),
            provisioning_key: None,
            wait_seconds: 50,
            poll_seconds: 60,
            longest_backoff_seconds: 300,
        }
    }
}

/// What the device says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSection {
    /// A name for people; the host's name where none is given.
    pub name: Option<String>,
    /// A type for people.
    pub kind: String,
    /// Its IANA time zone; the host's where none is given.
    pub time_zone: Option<String>,
}

impl Default for DeviceSection {
    fn default() -> Self {
        Self {
            name: None,
            kind: "standalone".to_owned(),
            time_zone: None,
        }
    }
}

/// The container engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineSection {
    /// Its socket: `unix:///var/run/docker.sock` or `http://host:port`.
    pub address: String,
    /// Which of the engine's containers are this agent's; the device's uuid where none is given.
    pub scope: Option<String>,
    /// A folder on the disk that the engine keeps images on, to tell how much is free; the engine's own
    /// where none is given.
    pub storage: Option<PathBuf>,
    /// How many times the size of its packed layers a pull is taken to need on the disk; 0: sizes are not asked for.
    pub unpack_factor: u32,
    /// How long a pull may bring nothing before it has failed, in seconds.
    pub pull_stall_seconds: u64,
}

impl Default for EngineSection {
    fn default() -> Self {
        Self {
            address: "unix:///var/run/docker.sock".to_owned(),
            scope: None,
            storage: None,
            // Layers are packed to a half or less, and are there packed too until they are unpacked.
            unpack_factor: 3,
            pull_stall_seconds: 120,
        }
    }
}

/// Registries that images come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistrySection {
    /// A Docker configuration file with credentials (`auths`).
    pub docker_config: Option<PathBuf>,
    /// Files with credentials by registry, as `name:password` on one line.
    pub credential_files: BTreeMap<String, PathBuf>,
    /// Mirrors by registry: `docker.io = "mirror.local:5000"`.
    pub mirrors: BTreeMap<String, String>,
}

/// Reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportSection {
    /// A report is sent at least this often, in seconds.
    pub every_seconds: u64,
    /// How long changes are gathered before they are reported, in milliseconds.
    pub gather_ms: u64,
    /// How many reports of the past are kept while the server is away.
    pub queue: usize,
}

impl Default for ReportSection {
    fn default() -> Self {
        Self {
            every_seconds: 300,
            gather_ms: 300,
            queue: 100,
        }
    }
}

/// What the names of our variables begin with.
pub const PREFIX: &str = "WINDLASS_AGENT_";

/// Variables that begin like settings but are read by the command line.
const NOT_SETTINGS: &[&str] = &["WINDLASS_AGENT_CONFIG"];

impl Config {
    /// Reads defaults, then the file, then the environment, then the flags (path and text).
    ///
    /// # Errors
    /// [`ConfigError`] for whatever cannot be read, is unknown or does not fit.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut config: Self = windlass_settings::load(&Sources {
            file,
            prefix: PREFIX,
            environment: Some(environment),
            elsewhere: NOT_SETTINGS,
            flags,
        })?;
        // Compose files pass on what is not set as an empty text.
        for text in [
            &mut config.server.provisioning_key,
            &mut config.device.name,
            &mut config.device.time_zone,
            &mut config.engine.scope,
        ] {
            text.take_if(|text| text.trim().is_empty());
        }
        config.check()?;
        Ok(config)
    }

    /// Refuses settings that contradict each other.
    fn check(&self) -> Result<(), ConfigError> {
        if let Err(error) = self.engine.address.parse::<Address>() {
            return Err(ConfigError::Contradiction(format!(
                "engine.address: {error}"
            )));
        }
        for (name, value) in [
            ("server.poll_seconds", self.server.poll_seconds),
            (
                "server.longest_backoff_seconds",
                self.server.longest_backoff_seconds,
            ),
            ("report.every_seconds", self.report.every_seconds),
            ("engine.pull_stall_seconds", self.engine.pull_stall_seconds),
            (
                "update.retry_first_seconds",
                self.update.retry_first_seconds.into(),
            ),
            (
                "update.deadline_seconds",
                self.update.deadline_seconds.into(),
            ),
        ] {
            if value == 0 {
                return Err(ConfigError::Contradiction(format!(
                    "{name} must be at least 1"
                )));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn flags_go_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(
            &file,
            "state_dir = '/a'\n[server]\nurl = 'http://file'\nwait_seconds = 1\npoll_seconds = 2",
        )
        .unwrap();
        let environment = env(&[
            ("WINDLASS_AGENT_SERVER_URL", "http://environment"),
            ("WINDLASS_AGENT_SERVER_WAIT_SECONDS", "7"),
            ("WINDLASS_AGENT_CONFIG", "read elsewhere"),
        ]);
        let flags = [("server.url", "http://flag".to_owned())];
        let config = Config::load(Some(&file), &environment, &flags).unwrap();
        assert_eq!(config.server.url, "http://flag");
        assert_eq!(config.server.wait_seconds, 7);
        assert_eq!(config.server.poll_seconds, 2);
        assert_eq!(config.state_dir, PathBuf::from("/a"));
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_nearest_one() {
        let environment = env(&[("WINDLASS_AGENT_SERVER_ULR", "http://x")]);
        let error = Config::load(None, &environment, &[]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("WINDLASS_AGENT_SERVER_URL?"), "{text}");
        let environment = env(&[("WINDLASS_AGENT_REPORT_EVERY_SECONDS", "0")]);
        assert!(Config::load(None, &environment, &[]).is_err());
    }

    #[test]
    fn what_is_passed_on_empty_is_not_set() {
        let environment = env(&[("WINDLASS_AGENT_SERVER_PROVISIONING_KEY", "")]);
        let config = Config::load(None, &environment, &[]).unwrap();
        assert_eq!(config.server.provisioning_key, None);
    }

    #[test]
    fn the_key_comes_from_a_file_and_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "a-provisioning-key\n").unwrap();
        let name = "WINDLASS_AGENT_SERVER_PROVISIONING_KEY_FILE";
        let environment = env(&[(name, file.to_str().unwrap())]);
        let config = Config::load(None, &environment, &[]).unwrap();
        let key = config.server.provisioning_key.as_deref();
        assert_eq!(key, Some("a-provisioning-key"));
        assert!(!config.masked().contains("a-provisioning-key"));
    }
}
