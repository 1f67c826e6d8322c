//! `webhook-ingest`: hears from registries what was pushed.
//!
//! * Owns: receiving, authenticating, storing, reading and de-duplicating webhook deliveries; asking
//!   registries for the digests that senders do not tell, and for pushes that no webhook told of. The only writer of deliveries and of image
//!   versions.
//! * Never: decides what a push leads to. That is the planner's.
//! * Woken by: requests; its resolver by `image.webhook_received` and `operator.command_given`, and by
//!   the time a registry is to be asked again.
//! * Test it with: `scripts/test -p windlass-webhook-ingest`.
//!
//! What is answered with a 2xx is durable: the delivery as received, what was read in it, the image
//! versions it makes and their events are one transaction. See docs/webhooks.md and
//! docs/adr/0004-pushes-and-duplicates.md.

mod answer;
mod asking;
mod auth;
mod body;
mod endpoints;
mod events;
mod facts;
pub mod fetch;
mod health;
mod ingest;
mod limit;
mod listing;
mod metrics;
mod permission;
mod receive;
mod replay;
mod resolver;
mod retention;
mod run;
pub mod senders;
mod sns;
mod state;
mod token;
mod upkeep;
mod watch;

pub use run::{main, part, part_fetching};
