//! The service that makes rollouts and moves them on.
//!
//! * Owns: rollouts, who is in which batch, admissions, and the target states of admitted devices.
//!   What it decides is planned in `windlass-core`; here it is read, carried out and told.
//! * Never: judges a device, puts one back, or takes input other than the store.
//! * Woken by: pushed versions, operators' commands and verdicts; by the time of the next batch; and
//!   every `planner.scan_ms`. Each run reads the store, so what woke it makes no difference.
//! * Test it with: `scripts/test -p windlass-rollout-planner`.
//!
//! Every change is one transaction that takes the version, trigger or rollout it is about first, so
//! that any number of replicas may run, and any of them may die at any point: see
//! docs/adr/0006-planner.md.

mod batch;
mod create;
mod exact;
mod members;
mod metrics;
mod ready;
mod retry;
mod run;
mod step;
mod triggers;
mod versions;

pub use members::run as members;
pub use metrics::Metrics;
pub use run::{main, part};
pub use step::run as rollouts;
pub use triggers::run as triggers;
pub use versions::run as versions;

/// How the service is called in events, metrics and logs.
const NAME: &str = "rollout-planner";

/// Rows of one page of work.
const PAGE: i64 = 100;
