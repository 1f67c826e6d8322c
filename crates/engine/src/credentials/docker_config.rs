//! Docker's `config.json`, as far as it tells who this machine is.

use super::Login;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What Docker calls its own registry.
pub(super) const HUB: &str = "https://index.docker.io/v1/";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

impl DockerConfig {
    /// The helper that keeps the registry's credentials.
    pub(super) fn helper(&self, names: &[String]) -> Option<&str> {
        let own = self
            .helpers
            .iter()
            .find(|(key, _)| names.contains(&host(key)));
        own.map(|(_, helper)| helper)
            .or(self.store.as_ref())
            .map(String::as_str)
            .filter(|helper| !helper.is_empty())
    }

    /// The login that is in the file itself.
    pub(super) fn login(&self, names: &[String]) -> Result<Option<Login>, String> {
        let found = self
            .auths
            .iter()
            .find(|(key, _)| names.contains(&host(key)));
        let Some((key, auth)) = found else {
            return Ok(None);
        };
        if let Some(token) = filled(auth.identitytoken.as_ref()) {
            return Ok(Some(Login::IdentityToken(token)));
        }
        if let Some(token) = filled(auth.registrytoken.as_ref()) {
            return Ok(Some(Login::RegistryToken(token)));
        }
        let pair = match filled(auth.auth.as_ref()) {
            Some(encoded) => Some(decode(&encoded).ok_or_else(|| {
                format!("auths of {key:?}: auth is not the base64 of name:password")
            })?),
            None => filled(auth.username.as_ref()).zip(auth.password.clone()),
        };
        Ok(pair.map(|(name, password)| Login::Password { name, password }))
    }
}

/// The host of a key, which may be a whole address: `https://index.docker.io/v1/`.
pub(super) fn host(key: &str) -> String {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let host = rest.split('/').next().unwrap_or(rest);
    host.to_ascii_lowercase()
}

fn filled(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn decode(encoded: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (name, password) = text.split_once(':')?;
    // Docker's own writer may leave zeros at the end.
    Some((name.to_owned(), password.trim_end_matches('\0').to_owned()))
}
