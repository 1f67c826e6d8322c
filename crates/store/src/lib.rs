//! The store: everything Windlass knows, in PostgreSQL or SQLite behind one API.
//!
//! * Owns: the SQL, both databases, migrations, the event log. The only crate that names sqlx.
//! * Never: decides. Functions here read rows and make guarded writes; the rules are in `core`.
//! * Woken by: nothing; it is called.
//! * Test it with: `scripts/test -p windlass-store` (every test runs on both databases).
//!
//! [`Store::begin`] opens a transaction that writes, [`Store::read`] a session that reads. The
//! modules beside it, one for each noun, are free functions that take a [`Session`], so that callers
//! compose several into one transaction. [`Session::commit`] returns the events that the transaction
//! appended, for publishing after the commit.

pub mod admissions;
pub mod api_keys;
mod build;
pub mod checks;
mod clock;
pub mod commands;
mod db;
pub mod deliveries;
pub mod devices;
mod error;
pub mod events;
pub mod freezes;
pub mod holds;
mod ids;
pub mod image_facts;
pub mod images;
pub mod inbox;
pub mod logs;
mod migrate;
pub mod penalties;
pub mod plans;
pub mod policies;
pub mod presence;
pub mod provisioning;
pub mod quarantine;
pub mod registry_budgets;
pub mod registry_watch;
pub mod reports;
pub mod rollbacks;
pub mod rollout_plans;
pub mod rollouts;
pub mod settings;
mod store;
pub mod targets;
pub mod triggers;
pub mod verdicts;
pub mod views;
pub mod waits;
mod watch;

pub use clock::Clock;
pub use db::{JsonText, Param, Record, Session, Statement, placeholders};
pub use error::{ConstraintKind, Error, Result};
pub use ids::Ids;
pub use store::{Kind, Options, Store};
pub use watch::{Point, Watch};

/// Rows are structs that derive this.
pub use sqlx::FromRow;
/// JSON columns, for binding and for row structs.
pub use sqlx::types::Json;
