//! What a device does next so that its container engine runs what the target says.
//!
//! * Owns: reading a target into specs, and the decision: what is wanted, what runs and what is
//!   remembered go in, one step and a view of each service come out.
//! * Never: talks to an engine, a server or a clock. The agent looks, asks this crate, does the one
//!   step, and looks again.
//! * Woken by: nothing; it is called.
//! * Test it with: `scripts/test -p windlass-reconcile`, without an engine.
//!
//! The agent's loop, in full:
//!
//! 1. A target that `Memory::refusal` has a word against is not taken; else `Wanted::read`.
//! 2. Look: containers, images, networks; ask the locks of `ask::locks`; run the probes of `ask::probes`.
//! 3. `plan::plan` gives one step. One that only writes (`Memory::write`) is written to the file,
//!    durably; any other is done by the engine.
//! 4. A step that failed goes to `outcome::note_of_failure`: it is either written down as the service's
//!    failure, or the step's subject is put aside for a while (`Observed::aside`).
//! 5. Again at once while there are steps; else when something changes or at `Plan::look_again_at`.

pub mod ask;
mod fingerprint;
pub mod label;
pub mod memory;
pub mod observed;
pub mod outcome;
pub mod plan;
pub mod settings;
pub mod spec;
pub mod step;
pub mod view;
