//! The typed HTTP client of state-api, for operators and for devices.
//!
//! * Owns: how requests and answers look on the wire, from the client's side.
//! * Never: decides, and never tries a change again by itself: only [`EventStream`] reconnects.
//! * Woken by: nothing; it is called.
//! * Test it with: `cargo test -p windlass-client`.

mod device;
mod error;
mod events;
mod http;
mod operator;

pub use device::{DeviceClient, Paced, Poll};
pub use error::Error;
pub use events::{EventFilter, EventStream};
pub use http::Client;
pub use operator::{
    DeliveryQuery, DeviceQuery, PageQuery, Ready, RolloutCommand, RolloutQuery, TriggerAnswer,
};

/// A result of the client.
pub type Result<T, E = Error> = std::result::Result<T, E>;
