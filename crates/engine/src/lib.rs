//! The container engine: Docker's API, and what else speaks it.
//!
//! * Owns: the conversation with an engine: its address, versions, time limits, what its answers mean,
//!   and the credentials that a pull takes along. The only crate that names the engine's client.
//! * Never: decides what is to run, and never removes a volume.
//! * Woken by: nothing; it is called. [`Engine::events`] wakes others.
//! * Test it with: `scripts/test -p windlass-engine` (on a private Docker engine).

mod address;
mod containers;
mod create;
mod credentials;
mod disk;
mod engine;
mod error;
mod events;
mod exec;
mod images;
mod info;
mod lifecycle;
mod logs;
mod networks;
mod pull;
mod settings;

pub use address::{Address, InvalidAddress};
pub use containers::{Found, Listed, Published};
pub use create::{Attachment, ContainerPlan, Created};
pub use credentials::{Credentials, CredentialsError, Login};
pub use disk::free_bytes;
pub use engine::Engine;
pub use error::{Error, is_out_of_space};
pub use events::Event;
pub use exec::ExecResult;
pub use images::{FoundImage, Offered};
pub use info::{Info, Kind, Plain};
pub use logs::Line;
pub use networks::FoundNetwork;
pub use pull::{Progress, PullSettings};
pub use settings::ContainerSettings;
