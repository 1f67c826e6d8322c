//! How registries are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

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

/// How registries are asked. Hosts are written as in image references, with the port where it has one;
/// Docker Hub is `docker.io`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Hosts, with port, that speak plain HTTP; nothing else is asked without TLS.
    pub http_hosts: BTreeSet<String>,
    /// Credentials by host, which go before those of the Docker configuration. A host is given only
    /// its own.
    pub credentials: BTreeMap<String, Credentials>,
    /// A Docker configuration file (`config.json`, or Podman's `auth.json`) with further credentials.
    /// It is read again when it is needed, so that it may be rotated.
    pub docker_config: Option<PathBuf>,
    /// The names of credential helpers that the Docker configuration may make us run: `ecr-login`
    /// lets `docker-credential-ecr-login` run.
    pub credential_helpers: BTreeSet<String>,
    /// The folder that helpers are in; without it they are looked for where programs are (`PATH`).
    pub helper_folder: Option<PathBuf>,
    /// PEM files with certificate authorities by host, beside those of the system.
    pub ca_files: BTreeMap<String, PathBuf>,
    /// How long one question may take, with all its redirects and tokens; nothing or zero is ten
    /// seconds.
    pub timeout: Option<Duration>,
}
