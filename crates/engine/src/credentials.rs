//! Who this machine is to registries: Docker's own configuration, its helpers, and files of the agent's.

mod docker_config;
mod helper;

use bollard::auth::DockerCredentials;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use windlass_types::image::DEFAULT_REGISTRY;

/// How a pull proves who it is. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A name and a password, or what a registry takes for one.
    Password {
        /// Who.
        name: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's authority exchanges for others.
    IdentityToken(String),
    /// A token that the registry takes as it is.
    RegistryToken(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { name, .. } => write!(f, "Login::Password({name})"),
            Self::IdentityToken(_) => f.write_str("Login::IdentityToken"),
            Self::RegistryToken(_) => f.write_str("Login::RegistryToken"),
        }
    }
}

impl Login {
    pub(crate) fn to_client(&self) -> DockerCredentials {
        match self.clone() {
            Self::Password { name, password } => DockerCredentials {
                username: Some(name),
                password: Some(password),
                ..Default::default()
            },
            Self::IdentityToken(token) => DockerCredentials {
                identitytoken: Some(token),
                ..Default::default()
            },
            Self::RegistryToken(token) => DockerCredentials {
                registrytoken: Some(token),
                ..Default::default()
            },
        }
    }
}

/// Where credentials come from. They are read for each pull, so that changed ones count at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// A Docker configuration: `auths`, `credHelpers` and `credsStore` are read.
    pub docker_config: Option<PathBuf>,
    /// Files by registry, each with `name:password` on its first line. They come before the configuration.
    pub files: BTreeMap<String, PathBuf>,
}

/// Why credentials that should be there are not.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("the credentials in {} cannot be read: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A helper does not tell.
    #[error("docker-credential-{helper} does not tell the credentials for {registry}: {reason}")]
    Helper {
        /// Which.
        helper: String,
        /// For whom.
        registry: String,
        /// Why.
        reason: String,
    },
}

impl Credentials {
    /// The login for a registry (`docker.io`, `host:port`); none where nobody set one.
    ///
    /// # Errors
    /// Where one is set and cannot be read: a pull without it would only say that it is refused.
    pub async fn of(&self, registry: &str) -> Result<Option<Login>, CredentialsError> {
        let names = names(registry);
        let file = self
            .files
            .iter()
            .find(|(host, _)| names.contains(&docker_config::host(host)));
        if let Some((_, path)) = file {
            return read_file(path).await.map(Some);
        }
        let Some(path) = &self.docker_config else {
            return Ok(None);
        };
        let text = match tokio::fs::read_to_string(path).await {
            Ok(text) => text,
            // Nobody ever logged in.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, error)),
        };
        let config: docker_config::DockerConfig =
            serde_json::from_str(&text).map_err(|error| unreadable(path, error))?;
        if let Some(name) = config.helper(&names) {
            let asked = if registry == DEFAULT_REGISTRY {
                docker_config::HUB
            } else {
                registry
            };
            if let Some(login) = helper::ask(name, asked).await? {
                return Ok(Some(login));
            }
        }
        config
            .login(&names)
            .map_err(|reason| unreadable(path, reason))
    }
}

/// What a registry is called in configurations.
fn names(registry: &str) -> Vec<String> {
    if registry == DEFAULT_REGISTRY {
        ["index.docker.io", "docker.io", "registry-1.docker.io"]
            .map(str::to_owned)
            .to_vec()
    } else {
        vec![registry.to_ascii_lowercase()]
    }
}

async fn read_file(path: &Path) -> Result<Login, CredentialsError> {
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|error| unreadable(path, error))?;
    let pair = text.lines().next().and_then(|line| line.split_once(':'));
    match pair {
        Some((name, password)) if !name.is_empty() => Ok(Login::Password {
            name: name.to_owned(),
            password: password.to_owned(),
        }),
        Some(_) | None => Err(unreadable(path, "expected name:password on its first line")),
    }
}

fn unreadable(path: &Path, reason: impl std::fmt::Display) -> CredentialsError {
    CredentialsError::File {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn password(name: &str, password: &str) -> Option<Login> {
        Some(Login::Password {
            name: name.to_owned(),
            password: password.to_owned(),
        })
    }

    fn config(folder: &Path, text: &str) -> Credentials {
        let path = folder.join("config.json");
        std::fs::write(&path, text).unwrap();
        Credentials {
            docker_config: Some(path),
            files: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn a_registry_is_found_under_all_the_names_that_docker_gives_it() {
        let folder = tempfile::tempdir().unwrap();
        // ann:hub and bob:own, as `docker login` writes them.
        let credentials = config(
            folder.path(),
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YW5uOmh1Yg=="},
                "http://R.example:5000":{"auth":"Ym9iOm93bg=="}}}"#,
        );
        assert_eq!(
            credentials.of("docker.io").await.unwrap(),
            password("ann", "hub")
        );
        assert_eq!(
            credentials.of("r.example:5000").await.unwrap(),
            password("bob", "own")
        );
        assert_eq!(credentials.of("other.example").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_file_of_its_own_comes_before_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let mut credentials = config(
            folder.path(),
            r#"{"auths":{"r:5000":{"auth":"Ym9iOm93bg=="}}}"#,
        );
        let file = folder.path().join("r");
        std::fs::write(&file, "eve:with:colons\n").unwrap();
        credentials.files.insert("r:5000".to_owned(), file);
        assert_eq!(
            credentials.of("r:5000").await.unwrap(),
            password("eve", "with:colons")
        );
    }

    #[tokio::test]
    async fn what_is_set_and_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(config(folder.path(), "{").of("r:5000").await.is_err());
        let mut credentials = Credentials::default();
        credentials
            .files
            .insert("r:5000".to_owned(), folder.path().join("none"));
        assert!(credentials.of("r:5000").await.is_err());
        assert_eq!(credentials.of("s:5000").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_helper_is_asked_and_given_up_where_it_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let limit = std::time::Duration::from_secs(2);
        let good = script(
            "good",
            r#"read host; printf '{"ServerURL":"%s","Username":"<token>","Secret":"t"}' "$host""#,
        );
        assert_eq!(
            helper::run(&good, "good", "r:5000", limit).await.unwrap(),
            Some(Login::IdentityToken("t".to_owned()))
        );
        let unknown = script(
            "unknown",
            "echo 'credentials not found in native keychain'; exit 1",
        );
        assert_eq!(
            helper::run(&unknown, "unknown", "r:5000", limit)
                .await
                .unwrap(),
            None
        );
        let hangs = script("hangs", "exec sleep 60");
        let error = helper::run(&hangs, "hangs", "r:5000", limit)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("2 s"), "{error}");
    }
}
