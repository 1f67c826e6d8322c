//! Asking registries, over the OCI distribution protocol, what their tags name.
//!
//! * Owns: the conversation with a registry: addresses, credentials, time limits, and what its
//!   refusals mean. The only crate that names the OCI client.
//! * Never: decides when to ask again, or what a digest means for a tag.
//! * Woken by: nothing; it is called.
//! * Test it with: `scripts/test -p windlass-registry` (against a stand-in that refuses in every way,
//!   and against a real CNCF Distribution).

mod error;
mod resolve;

pub use error::Error;
pub use resolve::{Credentials, Options, Registry};
