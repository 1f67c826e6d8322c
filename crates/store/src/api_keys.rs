//! Operators' keys.
