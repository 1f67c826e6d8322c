//! A thin typed face over the two sqlx drivers: one text of SQL, parameters and rows that both
//! databases take, checked by the compiler. See docs/adr/0003-one-store-two-databases.md.
//!
//! In loops a limit that is a parameter is written `LIMIT CAST($3 AS BIGINT)`: SQLite looks at the
//! value of a bare one when it plans, and so plans the statement anew each time one is bound.

mod rows;

pub use rows::JsonText;
pub(crate) use rows::{Column, Rows};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::store::Kind;
use crate::watch::{Point, Watch};
use chrono::{DateTime, SubsecRound, Utc};
use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, Encode, FromRow, Postgres, SqlSafeStr, SqlStr, Sqlite, Transaction, Type};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use windlass_types::event::Event;

/// A value that both databases take as a parameter.
pub trait Param:
    for<'q> Encode<'q, Postgres> + Type<Postgres> + for<'q> Encode<'q, Sqlite> + Type<Sqlite>
{
}
impl<T> Param for T where
    T: for<'q> Encode<'q, Postgres> + Type<Postgres> + for<'q> Encode<'q, Sqlite> + Type<Sqlite>
{
}

/// A row that both databases produce: a struct that derives [`sqlx::FromRow`], or a tuple.
pub trait Record:
    for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}
impl<T> Record for T where
    T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

pub(crate) enum Inner {
    PostgresTx(Transaction<'static, Postgres>),
    SqliteTx(Transaction<'static, Sqlite>),
    PostgresRead(PoolConnection<Postgres>),
    SqliteRead(PoolConnection<Sqlite>),
}

/// A transaction that writes, or a connection that reads. Dropped without
/// [`commit`](Session::commit), a transaction is rolled back.
pub struct Session {
    pub(crate) inner: Inner,
    pub(crate) now: DateTime<Utc>,
    pub(crate) clock: Clock,
    pub(crate) appended: Vec<Event>,
    pub(crate) ids: Ids,
    pub(crate) watch: Option<Arc<dyn Watch>>,
}

enum On<'t> {
    Postgres(&'t mut PgConnection, PgArguments),
    Sqlite(&'t mut SqliteConnection, SqliteArguments),
}

/// A statement being given its parameters.
#[must_use]
pub struct Statement<'t> {
    sql: SqlStr,
    on: On<'t>,
    bound: Result<(), BoxDynError>,
    dies: bool,
}

impl Session {
    /// Which database this is, for the few statements whose text differs.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.inner {
            Inner::PostgresTx(_) | Inner::PostgresRead(_) => Kind::Postgres,
            Inner::SqliteTx(_) | Inner::SqliteRead(_) => Kind::Sqlite,
        }
    }

    /// The time at which the session began: the database server's on PostgreSQL, the process's on
    /// SQLite. All that a transaction does, it does at this time.
    #[must_use]
    pub const fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Takes the time anew. Whoever waited for a lock decides at the time at which the wait was over.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn refresh(&mut self) -> Result<()> {
        let now = match (&self.clock, &self.inner) {
            // Deadlines of many processes need one clock: the database's.
            (Clock::System, Inner::PostgresTx(_)) => {
                let (now,): (DateTime<Utc>,) = self.sql("SELECT clock_timestamp()").one().await?;
                now.trunc_subsecs(6)
            }
            (clock, _) => clock.now(),
        };
        self.now = self.now.max(now);
        Ok(())
    }

    /// A new id (UUIDv7).
    #[must_use]
    pub fn new_id(&self) -> Uuid {
        self.ids.next(self.now)
    }

    /// Lets no later statement of this transaction take longer than this on PostgreSQL, waiting for locks
    /// included. SQLite has nobody to wait for once a transaction has begun.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn limit_statements(&mut self, limit: Duration) -> Result<()> {
        if let Inner::PostgresTx(_) = self.inner {
            let limit = format!("{}ms", limit.as_millis().max(1));
            self.sql("SELECT set_config('statement_timeout', $1, true)")
                .bind(limit)
                .execute()
                .await?;
        }
        Ok(())
    }

    fn dies(&self, at: Point) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.dies(at))
    }

    /// A statement; parameters are `$1`, `$2`, …
    pub fn sql(&mut self, sql: impl SqlSafeStr) -> Statement<'_> {
        let dies = self.dies(Point::Statement);
        let on = match &mut self.inner {
            Inner::PostgresTx(tx) => On::Postgres(tx, PgArguments::default()),
            Inner::PostgresRead(conn) => On::Postgres(conn, PgArguments::default()),
            Inner::SqliteTx(tx) => On::Sqlite(tx, SqliteArguments::default()),
            Inner::SqliteRead(conn) => On::Sqlite(conn, SqliteArguments::default()),
        };
        Statement {
            sql: sql.into_sql_str(),
            on,
            bound: Ok(()),
            dies,
        }
    }

    /// A statement whose text was put together from literals and [`placeholders`], never from data.
    pub fn built(&mut self, sql: String) -> Statement<'_> {
        self.sql(sqlx::AssertSqlSafe(sql))
    }

    /// Makes what the transaction did durable and returns the events it appended, for publishing.
    ///
    /// # Errors
    /// Whatever the database says; then nothing was done.
    pub async fn commit(self) -> Result<Vec<Event>> {
        if self.dies(Point::Commit) {
            return Err(Error::Unavailable(sqlx::Error::PoolClosed));
        }
        match self.inner {
            Inner::PostgresTx(tx) => tx.commit().await?,
            Inner::SqliteTx(tx) => tx.commit().await?,
            Inner::PostgresRead(_) | Inner::SqliteRead(_) => {}
        }
        if self.watch.is_some_and(|watch| watch.dies(Point::Committed)) {
            return Err(Error::Unavailable(sqlx::Error::PoolClosed));
        }
        Ok(self.appended)
    }

    /// Undoes what the transaction did, now rather than when it is dropped.
    ///
    /// # Errors
    /// Whatever the database says; the transaction is gone all the same.
    pub async fn rollback(self) -> Result<()> {
        match self.inner {
            Inner::PostgresTx(tx) => tx.rollback().await?,
            Inner::SqliteTx(tx) => tx.rollback().await?,
            Inner::PostgresRead(_) | Inner::SqliteRead(_) => {}
        }
        Ok(())
    }
}

macro_rules! run {
    ($self:ident, $make:path, $method:ident) => {{
        if $self.dies {
            return Err(Error::Unavailable(sqlx::Error::PoolClosed));
        }
        $self.bound.map_err(Error::Encode)?;
        match $self.on {
            On::Postgres(conn, args) => $make($self.sql, args).$method(conn).await?,
            On::Sqlite(conn, args) => $make($self.sql, args).$method(conn).await?,
        }
    }};
}

impl Statement<'_> {
    /// Binds the next parameter.
    pub fn bind(mut self, value: impl Param) -> Self {
        let added = match &mut self.on {
            On::Postgres(_, args) => args.add(value),
            On::Sqlite(_, args) => Arguments::add(args, value),
        };
        self.bound = self.bound.and(added);
        self
    }

    /// Every row.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn all<R: Record>(self) -> Result<Vec<R>> {
        Ok(run!(self, sqlx::query_as_with, fetch_all))
    }

    /// The row, if there is one.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn optional<R: Record>(self) -> Result<Option<R>> {
        Ok(run!(self, sqlx::query_as_with, fetch_optional))
    }

    /// The one row.
    ///
    /// # Errors
    /// Whatever the database says, also that there is none.
    pub async fn one<R: Record>(self) -> Result<R> {
        Ok(run!(self, sqlx::query_as_with, fetch_one))
    }

    /// Runs it and returns how many rows it changed.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn execute(self) -> Result<u64> {
        if self.dies {
            return Err(Error::Unavailable(sqlx::Error::PoolClosed));
        }
        self.bound.map_err(Error::Encode)?;
        Ok(match self.on {
            On::Postgres(conn, args) => sqlx::query_with(self.sql, args)
                .execute(conn)
                .await?
                .rows_affected(),
            On::Sqlite(conn, args) => sqlx::query_with(self.sql, args)
                .execute(conn)
                .await?
                .rows_affected(),
        })
    }
}

/// `rows` groups of `columns` placeholders, `(…),(…)`, for VALUES and IN: numbered from `first` on
/// PostgreSQL, plain `?` on SQLite, where a numbered one is looked up by name at each bind (measured
/// at more than twice the time for an upsert of 100 rows). On SQLite every parameter before them in
/// the same statement must therefore be written `?` too, or come after them.
///
/// ```
/// use windlass_store::{Kind, placeholders};
/// assert_eq!(placeholders(Kind::Postgres, 1, 2, 2), "($1,$2),($3,$4)");
/// assert_eq!(placeholders(Kind::Sqlite, 1, 2, 2), "(?,?),(?,?)");
/// ```
#[must_use]
pub fn placeholders(kind: Kind, first: usize, rows: usize, columns: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(rows * columns * 6);
    let mut number = first;
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ",(" });
        for column in 0..columns {
            if column > 0 {
                text.push(',');
            }
            match kind {
                // Writing to a String cannot fail.
                Kind::Postgres => write!(text, "${number}").unwrap_or_default(),
                Kind::Sqlite => text.push('?'),
            }
            number += 1;
        }
        text.push(')');
    }
    text
}
