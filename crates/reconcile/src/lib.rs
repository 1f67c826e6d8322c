//! What a device does next so that its container engine runs what the target says.
//!
//! * Owns: reading a target into specs, and the decision: what is wanted, what runs and what is
//!   remembered go in, one step and a view of each service come out.
//! * Never: talks to an engine, a server or a clock. The agent looks, asks this crate, does the one
//!   step, and looks again.
//! * Woken by: nothing; it is called.
//! * Test it with: `scripts/test -p windlass-reconcile`, without an engine.

pub mod memory;
pub mod observed;
pub mod spec;
pub mod step;
pub mod view;
