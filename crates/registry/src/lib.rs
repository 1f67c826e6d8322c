//! Asking registries, over the OCI distribution protocol, what they hold.
//!
//! * Owns: the conversation with a registry: addresses, credentials, tokens, time limits, how often it
//!   may be asked, and what its refusals mean. What it brings is checked against its digest.
//! * Never: decides when to ask again, or what a digest means for a tag. It writes nothing.
//! * Woken by: nothing; it is called.
//! * Test it with: `scripts/test -p windlass-registry` (against a stand-in that refuses in every way,
//!   and against a real CNCF Distribution).
//!
//! The protocol: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>; tokens:
//! <https://distribution.github.io/distribution/spec/auth/token/>.

mod auth;
mod budget;
mod challenge;
mod client;
mod content;
mod cosign;
mod credentials;
mod error;
mod facts;
mod helper;
mod layers;
mod options;
mod rate;
mod reading;
mod referrers;
mod resolve;
mod tags;

pub use budget::{Budget, Leave, LocalBudget, Pauses, Refused, Told};
pub use client::Registry;
pub use content::Manifest;
pub use error::Error;
pub use helper::is_name as is_helper_name;
pub use layers::Layer;
pub use options::{Credentials, Options};
pub use rate::Rate;
pub use referrers::Descriptor;
pub use resolve::Found;
pub use tags::Tags;
pub use windlass_types::oci::{ImageFacts, Platform};
