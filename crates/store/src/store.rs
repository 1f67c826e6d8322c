//! Opening a store, and sessions on it.

use crate::clock::Clock;
use crate::db::{Inner, Session};
use crate::error::{Error, Result};
use crate::ids::Ids;
use crate::watch::{Point, Watch};
use crate::{events, migrate};
use chrono::{DateTime, SubsecRound, Utc};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Which database a store is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PostgreSQL 15 or newer.
    Postgres,
    /// SQLite, one file.
    Sqlite,
}

/// Statements that a SQLite connection keeps prepared: more than all of the services together have.
const STATEMENTS: usize = 400;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// `postgres://…` or `sqlite:PATH`.
    pub url: String,
    /// The PostgreSQL password, where it is not in the address.
    pub password: Option<String>,
    /// Connections to PostgreSQL at most.
    pub max_connections: u32,
    /// How long to wait for a connection before the store counts as unavailable.
    pub acquire_timeout: Duration,
    /// How long a PostgreSQL statement may take.
    pub statement_timeout: Duration,
    /// Where the time comes from; a manual clock is for tests.
    pub clock: Clock,
    /// Where new ids come from; seeded ones are for tests.
    pub ids: Ids,
    /// Whether a commit on SQLite waits until it is on the disk; tests whose database is thrown away
    /// do without.
    pub durable: bool,
}

impl Options {
    /// This address and the usual settings.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
            // The longest statements admit a batch, of a million devices at worst: one that was cut
            // off would be tried again in vain for ever.
            statement_timeout: Duration::from_secs(600),
            clock: Clock::System,
            ids: Ids::Random,
            durable: true,
        }
    }
}

#[derive(Debug, Clone)]
enum Pools {
    Postgres(PgPool),
    /// One connection writes, so that writers queue instead of failing; the others read.
    Sqlite {
        writer: SqlitePool,
        reader: SqlitePool,
    },
}

/// An open store. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    pools: Pools,
    clock: Clock,
    ids: Ids,
    watch: Option<Arc<dyn Watch>>,
}

impl Store {
    /// Opens the database and brings its schema up to date, under a lock, so that several programs
    /// may start at once.
    ///
    /// # Errors
    /// [`Error::Url`] for an address that names no database, [`Error::Newer`] for a database of a
    /// newer program, [`Error::Unavailable`] where none answers.
    pub async fn open(options: &Options) -> Result<Self> {
        let store = Self::connect(options).await?;
        migrate::run(&store).await?;
        events::after_restore(&store).await?;
        Ok(store)
    }

    /// Opens the database as it is, without migrating it: for looking at one, and for making others
    /// beside it.
    ///
    /// # Errors
    /// [`Error::Url`] for an address that names no database, [`Error::Unavailable`] where none answers.
    pub async fn connect(options: &Options) -> Result<Self> {
        let bad = || Error::Url(without_password(&options.url));
        let pools =
            if options.url.starts_with("postgres://") || options.url.starts_with("postgresql://") {
                let mut connect = PgConnectOptions::from_str(&options.url)
                    .ok()
                    .ok_or_else(bad)?
                    .application_name("windlass")
                    .options([
                        // A transaction left open holds back every reader of the event log.
                        ("idle_in_transaction_session_timeout", "30s".to_owned()),
                        (
                            "statement_timeout",
                            format!("{}ms", options.statement_timeout.as_millis()),
                        ),
                        ("timezone", "UTC".to_owned()),
                        // Compiling a plan takes longer than any of ours gains by it.
                        ("jit", "off".to_owned()),
                    ]);
                if let Some(password) = &options.password {
                    connect = connect.password(password);
                }
                let pool = PgPoolOptions::new()
                    .max_connections(options.max_connections)
                    .acquire_timeout(options.acquire_timeout)
                    .connect_with(connect)
                    .await?;
                Pools::Postgres(pool)
            } else if let Some(path) = options.url.strip_prefix("sqlite:") {
                if path.is_empty() {
                    return Err(bad());
                }
                let connect = SqliteConnectOptions::new()
                    .filename(path.trim_start_matches("//"))
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(if options.durable {
                        SqliteSynchronous::Full
                    } else {
                        SqliteSynchronous::Off
                    })
                    .foreign_keys(true)
                    .statement_cache_capacity(STATEMENTS)
                    .busy_timeout(Duration::from_secs(10));
                let pool = |size| {
                    SqlitePoolOptions::new()
                        .max_connections(size)
                        // A file goes nowhere: what fails, fails in the statement.
                        .test_before_acquire(false)
                        .acquire_timeout(options.acquire_timeout)
                };
                // The writer first: it makes the file.
                let writer = pool(1).connect_with(connect.clone()).await?;
                let reader = pool(4).connect_with(connect.read_only(true)).await?;
                Pools::Sqlite { writer, reader }
            } else {
                return Err(bad());
            };
        Ok(Self {
            pools,
            clock: options.clock.clone(),
            ids: options.ids.clone(),
            watch: None,
        })
    }

    /// The same store, on the same connections, for a process that somebody watches.
    #[must_use]
    pub fn watched(&self, watch: Arc<dyn Watch>) -> Self {
        Self {
            watch: Some(watch),
            ..self.clone()
        }
    }

    /// The same store, on the same connections, with another clock and other ids: for tests that begin anew.
    #[must_use]
    pub fn with(&self, clock: Clock, ids: Ids) -> Self {
        Self {
            clock,
            ids,
            ..self.clone()
        }
    }

    /// Waits for the caller's turn, where somebody hands them out.
    async fn turn(&self) -> Result<()> {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        watch.turn().await;
        if watch.dies(Point::Session) {
            return Err(Error::Unavailable(sqlx::Error::PoolClosed));
        }
        Ok(())
    }

    /// Which database it is on.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.pools {
            Pools::Postgres(_) => Kind::Postgres,
            Pools::Sqlite { .. } => Kind::Sqlite,
        }
    }

    /// The clock it was opened with. Prefer [`Session::now`] for what is stored.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Begins a transaction that writes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where no connection is to be had in time.
    pub async fn begin(&self) -> Result<Session> {
        self.turn().await?;
        let inner = match &self.pools {
            Pools::Postgres(pool) => Inner::PostgresTx(pool.begin().await?),
            Pools::Sqlite { writer, .. } => {
                Inner::SqliteTx(writer.begin_with("BEGIN IMMEDIATE").await?)
            }
        };
        self.session(inner).await
    }

    /// Begins a transaction that writes and in which every statement sees the database as it was at
    /// the first one. It can fail with [`Error::Conflict`]; then it is to be tried again whole.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where no connection is to be had in time.
    pub async fn begin_snapshot(&self) -> Result<Session> {
        match &self.pools {
            Pools::Postgres(pool) => {
                self.turn().await?;
                let tx = pool
                    .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ")
                    .await?;
                self.session(Inner::PostgresTx(tx)).await
            }
            Pools::Sqlite { .. } => self.begin().await,
        }
    }

    /// Opens a session that reads. Each statement sees what was committed before it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where no connection is to be had in time.
    pub async fn read(&self) -> Result<Session> {
        self.turn().await?;
        let inner = match &self.pools {
            Pools::Postgres(pool) => Inner::PostgresRead(pool.acquire().await?),
            Pools::Sqlite { reader, .. } => Inner::SqliteRead(reader.acquire().await?),
        };
        self.session(inner).await
    }

    async fn session(&self, inner: Inner) -> Result<Session> {
        let mut session = Session {
            inner,
            now: self.clock.now(),
            clock: self.clock.clone(),
            appended: Vec::new(),
            ids: self.ids.clone(),
            watch: self.watch.clone(),
        };
        // Deadlines of many processes need one clock: the database's. Reads do without the round trip.
        if matches!(
            (&self.clock, &session.inner),
            (Clock::System, Inner::PostgresTx(_))
        ) {
            let (now,): (DateTime<Utc>,) = session.sql("SELECT clock_timestamp()").one().await?;
            session.now = now.trunc_subsecs(6);
        }
        Ok(session)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// What it says where it does not.
    pub async fn ping(&self) -> Result<()> {
        let mut session = self.read().await?;
        session.sql("SELECT 1").execute().await?;
        Ok(())
    }

    /// Closes every connection; on SQLite also folds the log back into the file.
    pub async fn close(&self) {
        match &self.pools {
            Pools::Postgres(pool) => pool.close().await,
            Pools::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
        }
    }

    pub(crate) const fn postgres(&self) -> Option<&PgPool> {
        match &self.pools {
            Pools::Postgres(pool) => Some(pool),
            Pools::Sqlite { .. } => None,
        }
    }

    pub(crate) const fn sqlite_writer(&self) -> Option<&SqlitePool> {
        match &self.pools {
            Pools::Postgres(_) => None,
            Pools::Sqlite { writer, .. } => Some(writer),
        }
    }
}

/// An address fit to be shown.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}
