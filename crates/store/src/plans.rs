//! What the planner made of each image version and trigger.
