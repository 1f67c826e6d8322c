//! Whether a policy says something that can be done.
