//! What tests stand on: fresh databases, servers that can be killed, waiting on conditions.
//!
//! * Owns: making and removing what a test needs. Every test has a database of its own.
//! * Never: passes a test over. What is missing is a failure that says how to get it.
//! * Woken by: nothing; it is called by tests, and nothing else depends on it.
//! * Test it with: `scripts/test -p windlass-testkit`.
//!
//! `scripts/test` starts private servers and says where they are:
//! `WINDLASS_TEST_POSTGRES_URL` (an administrator's address; databases are made and dropped beside
//! it), `WINDLASS_TEST_REDIS_URL` and `WINDLASS_TEST_DOCKER_HOST`.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "tests are to fail loudly, and this crate is only for tests"
)]

mod cutter;
mod database;
mod docker;
pub mod fleet;
mod process;
mod redis;
mod registry;
pub mod scenario;
mod wait;

pub use cutter::Cutter;
pub use database::{TestStore, postgres, postgres_with, sqlite, sqlite_with, stores, stores_with};
pub use docker::{DockerEngine, docker_host};
pub use process::Process;
pub use redis::{RedisServer, redis_url};
pub use registry::{DEVICE, Notify, Registry, Setup};
pub use wait::{eventually, free_port};

/// An HTTP client; the process's TLS provider is set where none is.
///
/// # Panics
/// Where the system gives none.
#[must_use]
pub fn http() -> reqwest::Client {
    // A second provider is no error.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    reqwest::Client::builder()
        // Servers of a test are on this machine, and what they answer is looked at as it is.
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}
