//! When a rollout pauses by itself.
