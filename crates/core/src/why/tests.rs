//! Facts in, reasons out: in full sentences.

mod devices;
mod images;
mod rollouts;
mod world;
