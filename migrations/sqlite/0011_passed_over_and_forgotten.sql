-- A version that was passed over while watch mode's policy for it was not there is planned anew for that policy alone.
ALTER TABLE image_versions ADD COLUMN reopened_for BLOB;

-- Whether a tag names a digest is asked for every digest of which something is known.
CREATE INDEX image_versions_of_digest ON image_versions (repository, digest);
-- Missed webhooks are counted whenever somebody looks at how endpoints are doing.
CREATE INDEX watch_finds_missed ON watch_finds (endpoint, found_at) WHERE missed AND endpoint IS NOT NULL;
