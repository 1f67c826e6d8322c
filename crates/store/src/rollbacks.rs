//! Putting devices back and pausing rollouts.
