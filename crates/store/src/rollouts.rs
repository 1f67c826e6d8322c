//! Rollouts and the devices in them, as the planner moves them.
