//! What operators order of rollouts, until it is done.
