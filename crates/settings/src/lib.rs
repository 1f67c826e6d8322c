//! Settings of a program: defaults ← file ← environment ← flags; and the log that all programs write.
//!
//! * Owns: how settings are laid over each other, refused and shown; the settings of the log.
//! * Never: knows what else can be set; each program has a type for that.
//! * Woken by: nothing; it is called, once, at the start.
//! * Test it with: `scripts/test -p windlass-service config`, on the settings of the services.
//!
//! Every setting has a path such as `store.url`. With the prefix `WINDLASS_` its variable is
//! `WINDLASS_STORE_URL`, and `WINDLASS_STORE_URL_FILE` names a file that holds the value. Unknown
//! settings are refused with the nearest known one.

mod environment;
mod error;
pub mod log;
mod tree;

pub use environment::{environment, ours};
pub use error::Error;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tree::{drop_nulls, fits, mask, merge, misfit, nearest, set, tree_of};

/// Where settings come from, beside the defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// A TOML file.
    pub file: Option<&'a Path>,
    /// What the names of variables begin with.
    pub prefix: &'a str,
    /// Variables.
    pub environment: Option<&'a BTreeMap<String, String>>,
    /// Variables that begin like settings and are read elsewhere; those that end in `_` stand for all
    /// that begin with them.
    pub elsewhere: &'a [&'a str],
    /// Settings given as flags: path and text.
    pub flags: &'a [(&'a str, String)],
}

/// Reads defaults, then the file, then the environment, then the flags.
///
/// # Errors
/// [`Error`] for whatever cannot be read, is unknown or does not fit.
pub fn load<T>(sources: &Sources<'_>) -> Result<T, Error>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut tree = tree_of(&T::default());
    if let Some(path) = sources.file {
        merge(&mut tree, read(path)?, "")?;
        fits::<T>(&tree, || format!("a setting in {}", path.display()))?;
    }
    if let Some(environment) = sources.environment {
        lay_environment::<T>(&mut tree, sources, environment)?;
    }
    for (path, text) in sources.flags {
        let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
        set(&mut tree, &keys, text).map_err(|error| json(path, &error))?;
        fits::<T>(&tree, || (*path).to_owned())?;
    }
    fits(&tree, || "the configuration".to_owned())
}

fn read(path: &Path) -> Result<Value, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        Error::Toml {
            path: path.to_owned(),
            line: before.map_or(0, |before| before.matches('\n').count() + 1),
            column: before.map_or(0, |before| {
                before.rsplit('\n').next().unwrap_or(before).chars().count() + 1
            }),
        }
    })?;
    serde_json::to_value(table).map_err(|error| misfit(path.display().to_string(), &error))
}

fn lay_environment<T>(
    tree: &mut Value,
    sources: &Sources<'_>,
    environment: &BTreeMap<String, String>,
) -> Result<(), Error>
where
    T: Default + Serialize + DeserializeOwned,
{
    let known: BTreeMap<String, Vec<String>> = setting_paths::<T>()
        .into_iter()
        .map(|path| {
            (
                variable(sources.prefix, &path),
                path.split('.').map(str::to_owned).collect(),
            )
        })
        .collect();
    for (name, value) in environment {
        if !name.starts_with(sources.prefix) || is_elsewhere(name, sources.elsewhere) {
            continue;
        }
        let (path, text) = match (known.get(name), name.strip_suffix("_FILE")) {
            (Some(path), _) => (path, value.clone()),
            (None, Some(base)) if known.contains_key(base) => {
                if environment.contains_key(base) {
                    return Err(Error::Contradiction(format!(
                        "{base} and {name} are both set; remove one"
                    )));
                }
                let text = std::fs::read_to_string(value).map_err(|source| Error::Read {
                    path: PathBuf::from(value),
                    source,
                })?;
                (&known[base], text.trim_end_matches(['\n', '\r']).to_owned())
            }
            _ => {
                let nearest = nearest(name, known.keys().map(String::as_str));
                return Err(Error::Unknown {
                    name: name.clone(),
                    nearest,
                });
            }
        };
        set(tree, path, &text).map_err(|error| json(name, &error))?;
        fits::<T>(tree, || name.clone())?;
    }
    Ok(())
}

fn is_elsewhere(name: &str, elsewhere: &[&str]) -> bool {
    elsewhere
        .iter()
        .any(|other| name == *other || (other.ends_with('_') && name.starts_with(other)))
}

fn json(name: &str, error: &serde_json::Error) -> Error {
    Error::Json {
        name: name.to_owned(),
        line: error.line(),
        column: error.column(),
    }
}

/// The settings in force, secrets masked, as TOML.
#[must_use]
pub fn masked<T: Serialize>(settings: &T) -> String {
    let mut tree = tree_of(settings);
    mask(&mut tree, "");
    drop_nulls(&mut tree);
    toml::to_string_pretty(&tree).unwrap_or_default()
}

/// The path of every setting, such as `store.url`.
#[must_use]
pub fn setting_paths<T: Default + Serialize>() -> Vec<String> {
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
    walk(&tree_of(&T::default()), "", &mut paths);
    paths
}

/// The variable of a setting.
#[must_use]
pub fn variable(prefix: &str, path: &str) -> String {
    format!("{prefix}{}", path.replace('.', "_").to_ascii_uppercase())
}
