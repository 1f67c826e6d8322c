//! Logs that devices send.
