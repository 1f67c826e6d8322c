//! Stub.

mod run;

pub use run::{main, part};
