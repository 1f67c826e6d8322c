//! Rows given to a statement: on PostgreSQL each column is one parameter, an array, so that one text, planned
//! once on a connection, serves any number of rows; on SQLite, which has no arrays, each value is one.

use super::{On, Statement, placeholders};
use crate::store::Kind;
use chrono::{DateTime, Utc};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo};
use sqlx::{Arguments, Encode, Postgres, Sqlite, Type};
use std::fmt::Write as _;
use std::sync::Arc;
use uuid::Uuid;

/// JSON that is text already and goes to the database as it is. Whoever makes one has seen to it that it is
/// JSON without a NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText(pub Arc<str>);

impl From<String> for JsonText {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&serde_json::Value> for JsonText {
    fn from(value: &serde_json::Value) -> Self {
        value.to_string().into()
    }
}

/// PostgreSQL's numbers for JSON and for arrays of it; sqlx has no name for them outside.
const JSON: Oid = Oid(114);
const JSON_ARRAY: Oid = Oid(199);

impl Type<Postgres> for JsonText {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(JSON)
    }
}

impl PgHasArrayType for JsonText {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(JSON_ARRAY)
    }
}

impl Encode<'_, Postgres> for JsonText {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn size_hint(&self) -> usize {
        self.0.len()
    }
}

impl Type<Sqlite> for JsonText {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for JsonText {
    fn encode_by_ref(&self, values: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(Arc::clone(&self.0), values)
    }
}

/// The values of one column.
#[derive(Debug, Clone)]
pub(crate) enum Column {
    Uuid(Vec<Option<Uuid>>),
    Text(Vec<Option<String>>),
    Number(Vec<Option<i64>>),
    Json(Vec<JsonText>),
    Time(Vec<DateTime<Utc>>),
}

impl Column {
    const fn array(&self) -> &'static str {
        match self {
            Self::Uuid(_) => "uuid[]",
            Self::Text(_) => "text[]",
            Self::Number(_) => "bigint[]",
            Self::Json(_) => "json[]",
            Self::Time(_) => "timestamptz[]",
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::Uuid(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Number(values) => values.len(),
            Self::Json(values) => values.len(),
            Self::Time(values) => values.len(),
        }
    }

    /// What it takes as an array, at most.
    fn bytes(&self) -> usize {
        /// An array's head; the length of each value and what is not longer than a uuid.
        const HEAD: usize = 24;
        const EACH: usize = 20;
        let texts: usize = match self {
            Self::Json(values) => values.iter().map(|text| text.0.len()).sum(),
            Self::Text(values) => values.iter().flatten().map(String::len).sum(),
            Self::Uuid(_) | Self::Number(_) | Self::Time(_) => 0,
        };
        HEAD + EACH * self.len() + texts
    }
}

/// Columns of equal length, each with its name. They are a statement's first parameters.
#[derive(Debug, Clone)]
pub(crate) struct Rows(pub(crate) Vec<(&'static str, Column)>);

impl Rows {
    /// The rows as a table of this name, for FROM.
    pub(crate) fn table(&self, kind: Kind, name: &str) -> String {
        let names = |each: &dyn Fn(usize, &str) -> String| -> String {
            let all: Vec<String> = self
                .0
                .iter()
                .enumerate()
                .map(|(at, (name, _))| each(at + 1, name))
                .collect();
            all.join(", ")
        };
        match kind {
            Kind::Postgres => {
                let mut arrays = String::new();
                for (at, (_, column)) in self.0.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    // Writing to a String cannot fail.
                    write!(arrays, "{comma}${}::{}", at + 1, column.array()).unwrap_or_default();
                }
                let names = names(&|_, name| name.to_owned());
                format!("UNNEST({arrays}) AS {name} ({names})")
            }
            Kind::Sqlite => {
                let rows = self.0.first().map_or(0, |(_, column)| column.len());
                format!(
                    "(SELECT {} FROM (VALUES {})) AS {name}",
                    names(&|at, name| format!("column{at} AS {name}")),
                    placeholders(kind, 1, rows, self.0.len())
                )
            }
        }
    }
}

impl Statement<'_> {
    /// Binds rows, before any other parameter.
    pub(crate) fn rows(mut self, rows: Rows) -> Self {
        let added = match &mut self.on {
            On::Postgres(_, args) => {
                // All of it at once, or it is copied each time it has doubled.
                let bytes = rows.0.iter().map(|(_, column)| column.bytes()).sum();
                Arguments::reserve(args, rows.0.len(), bytes);
                rows.0.into_iter().try_for_each(|(_, column)| match column {
                    Column::Uuid(values) => args.add(values),
                    Column::Text(values) => args.add(values),
                    Column::Number(values) => args.add(values),
                    Column::Json(values) => args.add(values),
                    Column::Time(values) => args.add(values),
                })
            }
            On::Sqlite(_, args) => {
                let count = rows.0.first().map_or(0, |(_, column)| column.len());
                let mut columns: Vec<Values> = rows.0.into_iter().map(|(_, c)| c.into()).collect();
                (0..count).try_for_each(|_| {
                    columns.iter_mut().try_for_each(|column| match column {
                        Values::Uuid(values) => args.add(values.next().flatten()),
                        Values::Text(values) => args.add(values.next().flatten()),
                        Values::Number(values) => args.add(values.next().flatten()),
                        Values::Json(values) => args.add(values.next()),
                        Values::Time(values) => args.add(values.next()),
                    })
                })
            }
        };
        self.bound = self.bound.and(added);
        self
    }
}

/// A column, value by value.
enum Values {
    Uuid(std::vec::IntoIter<Option<Uuid>>),
    Text(std::vec::IntoIter<Option<String>>),
    Number(std::vec::IntoIter<Option<i64>>),
    Json(std::vec::IntoIter<JsonText>),
    Time(std::vec::IntoIter<DateTime<Utc>>),
}

impl From<Column> for Values {
    fn from(column: Column) -> Self {
        match column {
            Column::Uuid(values) => Self::Uuid(values.into_iter()),
            Column::Text(values) => Self::Text(values.into_iter()),
            Column::Number(values) => Self::Number(values.into_iter()),
            Column::Json(values) => Self::Json(values.into_iter()),
            Column::Time(values) => Self::Time(values.into_iter()),
        }
    }
}
