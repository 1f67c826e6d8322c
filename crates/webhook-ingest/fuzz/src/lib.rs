//! The parsers of deliveries without the service around them. `senders` is a link to those of
//! `windlass-webhook-ingest`, so that nothing else has to be built with the fuzzer's instruments.

#[allow(dead_code, reason = "what the service alone uses")]
pub mod senders;
