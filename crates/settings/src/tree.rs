//! Settings as a tree of values: laid over each other, given from text, masked.

use crate::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(super) fn tree_of(config: &impl Serialize) -> Value {
    serde_json::to_value(config).unwrap_or_else(|_| Value::Object(Map::new()))
}

pub(super) fn merge(base: &mut Value, over: Value, prefix: &str) -> Result<(), Error> {
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
                        return Err(Error::Unknown {
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
pub(super) fn set(tree: &mut Value, path: &[String], text: &str) -> Result<(), serde_json::Error> {
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
pub(super) fn fits<T: DeserializeOwned>(
    tree: &Value,
    name: impl Fn() -> String,
) -> Result<T, Error> {
    T::deserialize(tree).map_err(|error| misfit(name(), &error))
}

/// What was expected. What was found is in front of that, and may be a secret.
pub(super) fn misfit(name: String, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let expected = text
        .rsplit_once(", expected ")
        .map(|(_, expected)| expected);
    Error::Value {
        name,
        expected: expected.unwrap_or("another kind of value").to_owned(),
    }
}

pub(super) fn mask(value: &mut Value, key: &str) {
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
            if matches!(
                key,
                "password" | "secret" | "previous_secret" | "api_key" | "provisioning_key"
            ) =>
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

pub(super) fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    }
}

/// The known name that takes the fewest edits, if it is near enough to be a slip.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
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
