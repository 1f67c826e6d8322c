//! What a rollout does next, and what it waits for.
