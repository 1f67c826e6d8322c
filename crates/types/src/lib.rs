//! The data every part of Windlass shares: ids, image references, policies, rollouts, events and
//! the wire types of the device protocol.
//!
//! * Owns: the names and shapes of things, and how they read and write themselves.
//! * Never: decides, does I/O, reads a clock or makes an id.
//! * Woken by: nothing.
//! * Test it with: `cargo test -p windlass-types`.

pub mod api;
pub mod delivery;
pub mod device;
pub mod event;
pub mod facts;
pub mod freeze;
pub mod hold;
pub mod ids;
pub mod image;
pub mod observation;
pub mod oci;
pub mod operator;
pub mod page;
pub mod policy;
pub mod problem;
pub mod registry;
pub mod report;
pub mod rollout;
pub mod signature;
pub mod target;
mod text_enum;
pub mod why;
