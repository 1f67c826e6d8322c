//! Reading one service's fields: by any of the spellings that are met, each told where it is wrong.

use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A field that cannot be understood: which, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) why: String,
}

pub(super) type Read<T> = Result<T, Wrong>;

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) at: String,
    pub(super) value: &'a Value,
}

impl<'a> Field<'a> {
    pub(super) fn new(at: impl Into<String>, value: &'a Value) -> Self {
        Self {
            at: at.into(),
            value,
        }
    }

    /// This field is wrong.
    pub(super) fn wrong<T>(&self, why: impl Into<String>) -> Read<T> {
        Err(Wrong {
            field: self.at.clone(),
            why: why.into(),
        })
    }

    /// This field is not what it should be.
    pub(super) fn expected<T>(&self, what: &str) -> Read<T> {
        let mut text = self.value.to_string();
        if text.chars().count() > 60 {
            text = text.chars().take(57).chain("...".chars()).collect();
        }
        self.wrong(format!("{text} is not {what}"))
    }

    /// A text, a number or a truth value, as text.
    pub(super) fn scalar(&self) -> Read<String> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(truth) => Ok(truth.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => self.expected("a text"),
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&self) -> Read<String> {
        let text = self.scalar()?;
        if text.trim().is_empty() {
            return self.wrong("is empty");
        }
        Ok(text)
    }

    pub(super) fn truth(&self) -> Read<bool> {
        match self.value {
            Value::Bool(truth) => Ok(*truth),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            _ => self.expected("true or false"),
        }
    }

    /// A whole number, also as text.
    pub(super) fn number<T: std::str::FromStr>(&self, what: &str) -> Read<T> {
        match self.scalar()?.trim().parse() {
            Ok(number) => Ok(number),
            Err(_) => self.expected(what),
        }
    }

    pub(super) fn list(&self) -> Read<Vec<Field<'a>>> {
        match self.value {
            Value::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(n, value)| Field::new(format!("{}[{n}]", self.at), value))
                .collect()),
            _ => self.expected("a list"),
        }
    }

    /// A list, or one alone.
    pub(super) fn list_or_one(&self) -> Read<Vec<Field<'a>>> {
        match self.value {
            Value::Array(_) => self.list(),
            _ => Ok(vec![self.clone()]),
        }
    }

    pub(super) fn fields(&self) -> Read<Fields<'a>> {
        match self.value {
            Value::Object(map) => Ok(Fields::new(self.at.clone(), map)),
            _ => self.expected("an object"),
        }
    }

    /// A map from names to values, or a list of `name=value`. A name without a value comes as none.
    pub(super) fn pairs(&self, separators: &[char]) -> Read<BTreeMap<String, Option<Field<'a>>>> {
        match self.value {
            Value::Object(map) => Ok(map
                .iter()
                .map(|(name, value)| {
                    let field = Field::new(format!("{}.{name}", self.at), value);
                    (name.clone(), (!value.is_null()).then_some(field))
                })
                .collect()),
            Value::Array(_) => {
                let mut pairs = BTreeMap::new();
                for item in self.list()? {
                    let Value::String(text) = item.value else {
                        return item.expected("name=value");
                    };
                    let name = text.split(separators).next().unwrap_or_default();
                    let with_value = name.len() < text.len();
                    pairs.insert(name.to_owned(), with_value.then(|| item.clone()));
                }
                Ok(pairs)
            }
            _ => self.expected("a map or a list of name=value"),
        }
    }

    /// The value of one of [`Self::pairs`]: what stands after the separator in a list's item.
    pub(super) fn pair_value(&self, name: &str) -> Read<String> {
        let text = self.scalar()?;
        Ok(match text.strip_prefix(name) {
            Some(rest) if self.at.ends_with(']') => rest.chars().skip(1).collect(),
            _ => text,
        })
    }
}

/// The fields of an object. Those that nobody asked for are left over, to be told.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    at: String,
    map: &'a Map<String, Value>,
    asked: BTreeSet<String>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(at: impl Into<String>, map: &'a Map<String, Value>) -> Self {
        Self {
            at: at.into(),
            map,
            asked: BTreeSet::new(),
        }
    }

    /// The field of one of these names, in camelCase, snake_case or kebab-case; null is absent.
    pub(super) fn get(&mut self, names: &[&str]) -> Option<Field<'a>> {
        let mut found = None;
        for name in names {
            let plain = plain(name);
            for (key, value) in self.map.iter().filter(|(key, _)| self::plain(key) == plain) {
                if found.is_none() && !value.is_null() {
                    let at = if self.at.is_empty() {
                        key.clone()
                    } else {
                        format!("{}.{key}", self.at)
                    };
                    found = Some(Field::new(at, value));
                }
            }
            self.asked.insert(plain);
        }
        found
    }

    pub(super) fn text(&mut self, names: &[&str]) -> Read<Option<String>> {
        self.get(names).map(|field| field.text()).transpose()
    }

    pub(super) fn truth(&mut self, names: &[&str]) -> Read<Option<bool>> {
        self.get(names).map(|field| field.truth()).transpose()
    }

    pub(super) fn number(&mut self, names: &[&str]) -> Read<Option<u32>> {
        let read = |field: Field<'_>| field.number("a whole number");
        self.get(names).map(read).transpose()
    }

    pub(super) fn texts(&mut self, names: &[&str]) -> Read<Vec<String>> {
        let Some(field) = self.get(names) else {
            return Ok(Vec::new());
        };
        field.list_or_one()?.iter().map(Field::text).collect()
    }

    /// The names of the fields that nobody asked for.
    pub(super) fn left_over(&self) -> Vec<String> {
        let unknown = |key: &&String| !self.asked.contains(&plain(key));
        self.map.keys().filter(unknown).cloned().collect()
    }

    /// Where these fields stand.
    pub(super) fn at(&self) -> &str {
        &self.at
    }
}

fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}
