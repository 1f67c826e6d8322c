-- How far in the event log the failures of a rollout that does not run were counted and found within
-- its budget: they are counted again once the log tells of it after that. Rows may be lost; then they
-- are counted once more.

CREATE TABLE counted_budgets (
    rollout_id BLOB PRIMARY KEY NOT NULL,
    tx         INTEGER NOT NULL,
    seq        INTEGER NOT NULL
) STRICT;
-- Those that ended lately are looked through every second.
CREATE INDEX image_rollouts_finished ON image_rollouts (finished_at) WHERE finished_at IS NOT NULL;
