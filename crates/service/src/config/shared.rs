//! What every service has: its database, bus and listener.

use serde::{Deserialize, Serialize};

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    /// `postgres://user@host/name` or `sqlite:PATH`.
    pub url: String,
    /// The PostgreSQL password.
    pub password: Option<String>,
    /// Connections to PostgreSQL at most, for each process.
    pub max_connections: u32,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            url: "sqlite:windlass.db".to_owned(),
            password: None,
            max_connections: 10,
        }
    }
}

/// Wake-ups between processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSection {
    /// `redis://host:port`; without it wake-ups stay inside the process.
    pub redis_url: Option<String>,
    /// Events are published on `<prefix>.<type>`.
    pub prefix: String,
}

impl Default for BusSection {
    fn default() -> Self {
        Self {
            redis_url: None,
            prefix: "windlass.events".to_owned(),
        }
    }
}

/// The listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// Threads that answer requests.
    pub workers: usize,
    /// Connections for each thread at most.
    pub max_connections: usize,
    /// How long a client may take to send a request's head, in seconds.
    pub request_timeout_seconds: u64,
    /// How long requests under way may take when the process ends, in seconds.
    pub shutdown_timeout_seconds: u64,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            workers: 2,
            max_connections: 50_000,
            request_timeout_seconds: 10,
            shutdown_timeout_seconds: 5,
        }
    }
}
