//! When devices were seen.
