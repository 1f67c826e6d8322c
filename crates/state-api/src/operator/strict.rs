//! Reading JSON more strictly than serde: an object is written as an object, and what is wrong has an
//! address.
//!
//! serde takes an array for a struct, field by field, and an empty one for a struct of defaults:
//! `"failure": []` would be taken for the usual limits. A struct knows what it wants, so it is stopped
//! where it asks.

use serde::de::{
    self, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};
use std::fmt;

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The fields on the way there, the innermost first.
    path: Vec<String>,
    /// What serde says.
    pub(super) message: String,
}

impl Wrong {
    /// The address: `failure.max_failure_rate`, `batches[1]`; empty for the body itself.
    pub(super) fn address(&self) -> String {
        let whole: String = self.path.iter().rev().map(String::as_str).collect();
        whole.trim_start_matches('.').to_owned()
    }

    fn below(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            path: Vec::new(),
            message: message.to_string(),
        }
    }
}

/// A value that is read strictly.
pub(super) struct Strict(pub(super) Value);

/// What reads a plain value, whose errors say what and not where.
fn plain<T>(read: Result<T, serde_json::Error>) -> Result<T, Wrong> {
    read.map_err(Wrong::custom)
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(Items(items.into_iter().enumerate())),
            Value::Object(map) => visitor.visit_map(Entries::of(map)),
            other => plain(other.deserialize_any(visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if self.0.is_array() {
            return Err(Wrong::custom("must be an object"));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        plain(self.0.deserialize_enum(name, variants, visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items(std::iter::Enumerate<std::vec::IntoIter<Value>>);

impl<'de> SeqAccess<'de> for Items {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some((place, value)) = self.0.next() else {
            return Ok(None);
        };
        seed.deserialize(Strict(value))
            .map(Some)
            .map_err(|wrong| wrong.below(format!("[{place}]")))
    }
}

struct Entries {
    left: serde_json::map::IntoIter,
    value: Option<(String, Value)>,
}

impl Entries {
    fn of(map: Map<String, Value>) -> Self {
        Self {
            left: map.into_iter(),
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((name, value)) = self.left.next() else {
            return Ok(None);
        };
        self.value = Some((name.clone(), value));
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let Some((name, value)) = self.value.take() else {
            return Err(Wrong::custom("a value is missing"));
        };
        seed.deserialize(Strict(value))
            .map_err(|wrong| wrong.below(format!(".{name}")))
    }
}
