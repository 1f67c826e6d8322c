//! Every decision Windlass takes, as pure functions.
//!
//! * Owns: the rules: which policy matches, which device is in which batch, what a report means, who
//!   is healthy, when a rollout pauses, where a device goes back to.
//! * Never: does I/O, reads a clock, draws a random number, logs. Equal input gives equal output;
//!   collections are ordered.
//! * Woken by: nothing; it is called.
//! * Test it with: `cargo test -p windlass-core`.

pub mod batches;
pub mod budget;
pub mod checks;
pub mod image_match;
pub mod limits;
pub mod matching;
pub mod observe;
pub mod penalty;
pub mod plan;
pub mod platforms;
pub mod policy_check;
pub mod probes;
pub mod push;
pub mod rollback;
pub mod signatures;
pub mod states;
pub mod target;
pub mod verdict;
pub mod versions;
pub mod watch;
pub mod why;
pub mod windows;
