//! Which device is in which batch.
