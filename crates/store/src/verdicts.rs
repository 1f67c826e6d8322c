//! Devices under update: claiming those that are to be judged, and writing verdicts.
//!
//! Rows are locked while they are judged, and each write is guarded by what was read, so that
//! several replicas never judge a device twice.

pub(crate) mod claim;
mod retry;
mod write;

pub use claim::{
    Changed, InFlight, Shipment, any_due, any_returned, changed, due, of_devices, returned,
    set_aside, shipments,
};
pub use retry::{PutOff, hold_active, put_off};
pub use write::{LastGood, Verdict, Written, failed_images, last_good, no_longer_good, write};
