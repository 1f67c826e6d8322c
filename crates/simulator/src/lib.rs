//! Simulated fleets: devices that speak the device protocol over real HTTP, and a small registry to
//! push their images to.
//!
//! * Owns: how a simulated device behaves, and what it saw and ran, for tests to look at.
//! * Never: looks into the server. A device knows what the protocol tells it.
//! * Woken by: answers of the server and the device's own clock.
//! * Test it with: `cargo test -p windlass-simulator`.
//!
//! Everything random about a device comes from its seed, so a fleet is the same each time; what the
//! network and the scheduler do to it is not. A device is one task; ten thousand fit in a process.

mod behaviour;
mod failure;
mod machine;
mod model;
mod port;
mod record;
mod registry;
mod report;
mod simulator;
mod task;
mod wire;

pub use behaviour::{Behaviour, Offline, Pace, Style};
pub use failure::{Bad, ErrorClass, Failure, Probe};
pub use machine::Machine;
pub use record::{Running, Snapshot, Started};
pub use registry::{Notify, Registry, RegistryError};
pub use simulator::{DeviceSpec, Simulator, SimulatorError};
