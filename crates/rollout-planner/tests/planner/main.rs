//! The planner as it runs, on both databases: versions and commands in, targets and events out.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod back_again;
mod batches;
mod commands;
mod decisions;
mod ends;
mod faults;
mod layout;
mod left_alone;
mod meanwhile;
mod members;
mod orders;
mod passed_over;
mod rivals;
mod signed_by_hand;
mod site;
mod slices;
mod versions;
