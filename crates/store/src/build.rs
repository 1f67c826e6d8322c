//! Statements whose text is put together: pieces of text and the values between them.

use crate::db::{Session, Statement};
use crate::store::Kind;
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use std::fmt::Write as _;
use uuid::Uuid;

/// A value of a built statement.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Uuid(Option<Uuid>),
    Text(Option<String>),
    Number(Option<i64>),
    Time(DateTime<Utc>),
    Json(serde_json::Value),
}

macro_rules! from {
    ($($type:ty => |$value:ident| $made:expr),+ $(,)?) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        })+
    };
}
from! {
    Uuid => |id| Self::Uuid(Some(id)),
    Option<Uuid> => |id| Self::Uuid(id),
    &str => |text| Self::Text(Some(text.to_owned())),
    String => |text| Self::Text(Some(text)),
    Option<String> => |text| Self::Text(text),
    i64 => |number| Self::Number(Some(number)),
    Option<i64> => |number| Self::Number(number),
    DateTime<Utc> => |time| Self::Time(time),
    serde_json::Value => |value| Self::Json(value),
}

/// A statement in the making. Values take their places in the order in which they are given, so
/// pieces can be put together without counting.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    kind: Kind,
    text: String,
    values: Vec<Value>,
}

impl Build {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            text: String::new(),
            values: Vec::new(),
        }
    }

    /// Text that is a literal of the program, never data.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A value.
    pub(crate) fn value(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        match self.kind {
            // Writing to a String cannot fail.
            Kind::Postgres => write!(self.text, "${}", self.values.len()).unwrap_or_default(),
            Kind::Sqlite => self.text.push('?'),
        }
        self
    }

    /// Values between parentheses, for IN. There must be at least one.
    pub(crate) fn list<V: Into<Value>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> &mut Self {
        for (at, value) in values.into_iter().enumerate() {
            self.text(if at == 0 { "(" } else { "," }).value(value);
        }
        self.text(")")
    }

    /// The statement, with its values bound.
    pub(crate) fn on(self, session: &mut Session) -> Statement<'_> {
        let mut statement = session.built(self.text);
        for value in self.values {
            statement = match value {
                Value::Uuid(value) => statement.bind(value),
                Value::Text(value) => statement.bind(value),
                Value::Number(value) => statement.bind(value),
                Value::Time(value) => statement.bind(value),
                Value::Json(value) => statement.bind(Json(value)),
            };
        }
        statement
    }
}
