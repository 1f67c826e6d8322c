-- Every pass asks for the rollouts that are not over, in the order in which they were made.
CREATE INDEX image_rollouts_open ON image_rollouts (id) WHERE finished_at IS NULL;
-- Which older rollouts of a repository have a device is asked at each admission.
CREATE INDEX image_rollouts_repository ON image_rollouts (repository, created_at);
-- Whether what a rollout ships is in quarantine.
CREATE INDEX image_rollouts_ships ON image_rollouts (COALESCE(digest, known_digest));
