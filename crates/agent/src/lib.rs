//! The program on a device: it asks the server what is to run, makes the container engine match it,
//! and says how that stands.
//!
//! * Owns: the device's identity, its state directory, polls, reports, logs, and the loop that looks,
//!   does one step and looks again.
//! * Never: decides what the next step is (`windlass-reconcile` does), and names no engine's API
//!   (`windlass-engine` does; only `work` calls it).
//! * Woken by: a changed target, the engine's events, probes, and the times that plans give.
//! * Test it with: `scripts/test -p windlass-agent`.
//!
//! | Module | What |
//! |---|---|
//! | `config` | settings: defaults ← file ← environment ← flags |
//! | `machine` | what the loop needs of an engine: a trait, so that it is tested without one |
//! | `work` | the same on a real engine: observe, execute, probes |
//! | `state` | the state directory: one lock, files that are whole or the one before |
//! | `reconciler` | the loop |
//! | `taking` | watch mode: containers that somebody else made |

pub mod adopt;
pub mod agent;
pub mod backoff;
pub mod cli;
pub mod config;
pub mod facts;
pub mod history;
pub mod identity;
pub mod link;
pub mod machine;
pub mod picture;
pub mod reconciler;
pub mod report;
pub mod reporter;
pub mod ship;
pub mod standing;
pub mod state;
pub mod status;
pub mod taking;
pub mod target;
pub mod work;
