//! A fresh database for each test.

use std::path::PathBuf;
use url::Url;
use uuid::Uuid;
use windlass_store::{Clock, Options, Store};

/// A store of a test's own, removed when it is dropped.
#[derive(Debug)]
pub struct TestStore {
    /// The store, migrated.
    pub store: Store,
    /// Its address, for opening it a second time.
    pub url: String,
    _origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Sqlite { _folder: tempfile::TempDir },
    Postgres { admin: String, name: String },
}

/// One store on SQLite and one on PostgreSQL, for tests that must hold on both.
///
/// # Panics
/// Where no PostgreSQL is to be had.
pub async fn stores() -> Vec<TestStore> {
    stores_with(Clock::System).await
}

/// The same with this clock.
///
/// # Panics
/// Where no PostgreSQL is to be had.
pub async fn stores_with(clock: Clock) -> Vec<TestStore> {
    vec![sqlite_with(clock.clone()).await, postgres_with(clock).await]
}

/// A store on SQLite.
///
/// # Panics
/// Where it cannot be opened.
pub async fn sqlite() -> TestStore {
    sqlite_with(Clock::System).await
}

/// A store on SQLite with this clock.
///
/// # Panics
/// Where it cannot be opened.
pub async fn sqlite_with(clock: Clock) -> TestStore {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path: PathBuf = folder.path().join("windlass.db");
    let url = format!("sqlite:{}", path.display());
    let store = open(&url, clock).await;
    TestStore {
        store,
        url,
        _origin: Origin::Sqlite { _folder: folder },
    }
}

/// A store on PostgreSQL.
///
/// # Panics
/// Where no PostgreSQL is to be had.
pub async fn postgres() -> TestStore {
    postgres_with(Clock::System).await
}

/// A store on PostgreSQL with this clock.
///
/// # Panics
/// Where no PostgreSQL is to be had.
pub async fn postgres_with(clock: Clock) -> TestStore {
    let admin = std::env::var("WINDLASS_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("WINDLASS_TEST_POSTGRES_URL is not set: run the tests with scripts/test")
    });
    let name = format!("windlass_test_{}", Uuid::new_v4().simple());
    administer(&admin, format!("CREATE DATABASE {name}")).await;
    let mut url = Url::parse(&admin).expect("WINDLASS_TEST_POSTGRES_URL is an address");
    url.set_path(&name);
    let url = url.to_string();
    // The database is dropped also where opening it fails.
    let origin = Origin::Postgres { admin, name };
    let store = open(&url, clock).await;
    TestStore {
        store,
        url,
        _origin: origin,
    }
}

impl TestStore {
    /// Opens the same database once more, as a second program would.
    ///
    /// # Panics
    /// Where it cannot be opened.
    pub async fn open_again(&self) -> Store {
        open(&self.url, self.store.clock().clone()).await
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let Self::Postgres { admin, name } = self else {
            return;
        };
        let admin = std::mem::take(admin);
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        // A runtime of its own: the test's may be ending, and cannot be blocked on from inside.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime")
                .block_on(administer(&admin, sql));
        })
        .join();
        if dropped.is_err() {
            eprintln!("the test's database {name} could not be dropped");
        }
    }
}

async fn open(url: &str, clock: Clock) -> Store {
    let options = Options {
        clock,
        max_connections: 20,
        ..Options::new(url)
    };
    Store::open(&options)
        .await
        .unwrap_or_else(|error| panic!("{url} cannot be opened: {error:?}"))
}

async fn administer(admin: &str, sql: String) {
    let options = Options {
        max_connections: 1,
        ..Options::new(admin)
    };
    let store = Store::connect(&options).await.unwrap_or_else(|error| {
        panic!("no PostgreSQL at {admin} ({error:?}): run the tests with scripts/test")
    });
    let mut session = store.read().await.expect("a connection");
    session.built(sql).execute().await.expect("the statement");
    drop(session);
    store.close().await;
}
