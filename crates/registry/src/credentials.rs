//! What proves who asks: settings, Docker's configuration file, credential helpers.

use crate::helper;
use crate::options::{Credentials, Options};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use windlass_types::image::{DEFAULT_REGISTRY, Repository};

/// The names under which Docker's programs keep the credentials of Docker Hub, the usual one first.
const HUB: [&str; 4] = [
    "https://index.docker.io/v1/",
    "index.docker.io",
    "docker.io",
    "registry-1.docker.io",
];
/// Bytes of a configuration file at most.
const MOST: u64 = 1024 * 1024;
/// The user name with which helpers mark an identity token.
const TOKEN_USER: &str = "<token>";

/// What proves who asks.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A user and a password.
    Password(Credentials),
    /// A refresh token, for which the token server gives access tokens.
    Identity(String),
    /// An access token, sent as it is.
    Access(String),
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The proof for a repository: of the settings, else of the Docker configuration; nothing where
/// neither knows its host.
///
/// # Errors
/// In words, where the configuration cannot be read or a helper fails.
pub(crate) async fn find(
    options: &Options,
    repository: &Repository,
) -> Result<Option<Proof>, String> {
    let host = repository.registry();
    if let Some(known) = options.credentials.get(host) {
        return Ok(Some(Proof::Password(known.clone())));
    }
    let Some(path) = &options.docker_config else {
        return Ok(None);
    };
    let config = read(path).await?;
    let helper = config
        .helpers
        .iter()
        .find(|(key, _)| is_host(key, host))
        .map(|(_, name)| name);
    if let Some(name) = helper {
        if !options.credential_helpers.contains(name) {
            return Err(format!(
                "{} names the credential helper {name:?} for it, which registry.credential_helpers \
                 does not allow",
                path.display()
            ));
        }
        return ask(options, name, host).await;
    }
    if let Some(entry) = best(&config.auths, repository)
        && let Some(proof) = proof(entry)?
    {
        return Ok(Some(proof));
    }
    match &config.store {
        // A store of a desktop is in many files that are copied; what it holds is not meant for us
        // unless we are told so.
        Some(name) if options.credential_helpers.contains(name) => ask(options, name, host).await,
        Some(_) | None => Ok(None),
    }
}

async fn read(path: &Path) -> Result<DockerConfig, String> {
    let told = |error: &dyn std::fmt::Display| format!("{} {error}", path.display());
    let size = tokio::fs::metadata(path)
        .await
        .map_err(|error| told(&format_args!("cannot be read: {error}")))?
        .len();
    if size > MOST {
        return Err(told(&"is no Docker configuration: it is too large"));
    }
    let text = tokio::fs::read(path)
        .await
        .map_err(|error| told(&format_args!("cannot be read: {error}")))?;
    // Only the place is told: the parser's words may quote a secret.
    serde_json::from_slice(&text).map_err(|error| {
        told(&format_args!(
            "is no Docker configuration at line {}, column {}",
            error.line(),
            error.column()
        ))
    })
}

async fn ask(options: &Options, name: &str, host: &str) -> Result<Option<Proof>, String> {
    if !helper::is_name(name) {
        return Err(format!("{name:?} is no name of a credential helper"));
    }
    let server = if host == DEFAULT_REGISTRY {
        HUB[0]
    } else {
        host
    };
    Ok(helper::get(name, options.helper_folder.as_deref(), server)
        .await?
        .map(|answer| {
            if answer.user == TOKEN_USER {
                Proof::Identity(answer.secret)
            } else {
                Proof::Password(Credentials {
                    user: answer.user,
                    password: answer.secret,
                })
            }
        }))
}

/// Whether a key of a configuration is this host.
fn is_host(key: &str, host: &str) -> bool {
    let (key, path) = split(key);
    path.is_empty() && (key == host || (host == DEFAULT_REGISTRY && HUB.contains(&key.as_str())))
}

/// A key's host, in lower case, and the path below it. Addresses (`https://host/v1/`) are their host;
/// without a scheme there may be a namespace, as Podman has it.
fn split(key: &str) -> (String, String) {
    let bare = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"));
    let (host, path) = bare
        .unwrap_or(key)
        .split_once('/')
        .unwrap_or((bare.unwrap_or(key), ""));
    let path = path.trim_matches('/');
    let path = if bare.is_some() || matches!(path, "v1" | "v2") {
        ""
    } else {
        path
    };
    (host.to_ascii_lowercase(), path.to_owned())
}

/// The entry whose key names most of the repository.
fn best<'a>(auths: &'a BTreeMap<String, Entry>, repository: &Repository) -> Option<&'a Entry> {
    let host = repository.registry();
    auths
        .iter()
        .filter_map(|(key, entry)| {
            let (key_host, path) = split(key);
            let below = path.is_empty()
                || repository
                    .path()
                    .strip_prefix(&path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let ours = is_host(&key_host, host);
            (ours && below).then_some((path.len(), entry))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, entry)| entry)
}

fn proof(entry: &Entry) -> Result<Option<Proof>, String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(token) = given(&entry.registrytoken) {
        return Ok(Some(Proof::Access(token)));
    }
    if let Some(token) = given(&entry.identitytoken) {
        return Ok(Some(Proof::Identity(token)));
    }
    if let (Some(user), Some(password)) = (given(&entry.username), given(&entry.password)) {
        return Ok(Some(Proof::Password(Credentials { user, password })));
    }
    let Some(auth) = given(&entry.auth) else {
        return Ok(None);
    };
    let wrong = || "its auth in the Docker configuration is not base64 of user:password".to_owned();
    let text = STANDARD
        .decode(auth.trim())
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(wrong)?;
    let (user, password) = text.split_once(':').ok_or_else(wrong)?;
    Ok(Some(Proof::Password(Credentials {
        user: user.to_owned(),
        // Docker pads what it writes.
        password: password.trim_end_matches('\0').to_owned(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        text.parse().unwrap()
    }

    async fn found(config: &str, image: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, config).unwrap();
        let options = Options {
            docker_config: Some(path),
            ..Options::default()
        };
        let proof = find(&options, &repository(image)).await?;
        Ok(proof.map(|proof| match proof {
            Proof::Password(known) => format!("{}:{}", known.user, known.password),
            Proof::Identity(token) => format!("identity {token}"),
            Proof::Access(token) => format!("access {token}"),
        }))
    }

    #[tokio::test]
    async fn each_host_is_given_its_own_entry_of_a_docker_configuration() {
        let auth = |text: &str| STANDARD.encode(text);
        let config = format!(
            r#"{{"auths": {{
                "https://index.docker.io/v1/": {{"auth": "{}"}},
                "ghcr.io": {{"auth": "{}"}},
                "https://Gitlab.Example:5050": {{"username": "u", "password": "p"}},
                "quay.io": {{"auth": "{}"}},
                "quay.io/acme": {{"auth": "{}"}},
                "acme.azurecr.io": {{"auth": "{}", "identitytoken": "refresh"}},
                "r.example": {{"registrytoken": "access"}},
                "empty.example": {{}}
            }}}}"#,
            auth("hub:secret"),
            auth("robot:a:b"),
            auth("quay:all"),
            auth("quay:acme"),
            auth("00000000-0000-0000-0000-000000000000:"),
        );
        for (image, expected) in [
            ("nginx", Some("hub:secret")),
            ("acme/app", Some("hub:secret")),
            ("ghcr.io/acme/app", Some("robot:a:b")),
            ("gitlab.example:5050/g/app", Some("u:p")),
            ("gitlab.example/g/app", None),
            ("quay.io/other/app", Some("quay:all")),
            ("quay.io/acme/app", Some("quay:acme")),
            ("quay.io/acme2/app", Some("quay:all")),
            ("acme.azurecr.io/app", Some("identity refresh")),
            ("r.example/app", Some("access access")),
            ("empty.example/app", None),
            ("unknown.example/app", None),
        ] {
            let proof = found(&config, image).await.unwrap();
            assert_eq!(proof.as_deref(), expected, "{image}");
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_configuration_is_told_without_its_secrets() {
        for (config, said) in [
            (r#"{"auths": {"r.io": {"auth": "s3cret"#, "line 1"),
            (r#"{"auths": {"r.io": {"auth": "s3cret!"}}}"#, "base64"),
            (
                r#"{"credHelpers": {"r.io": "ecr-login"}}"#,
                "registry.credential_helpers",
            ),
        ] {
            let error = found(config, "r.io/app").await.unwrap_err();
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        // A store that is not allowed is as if it knew nothing.
        let none = found(r#"{"credsStore": "desktop"}"#, "r.io/app").await;
        assert_eq!(none.unwrap(), None);
    }
}
