//! Devices on their way, and the verdicts on them.
