-- Rollouts by hand ask for the signatures that policies about the image want: 'allowed' where whoever asked vouches
-- for it without, 'asked' once the registry was asked anew, 'refused' where that is why there is no rollout (its
-- decision is then written as 'quarantined': SQLite cannot change a CHECK without copying the tables that refer to
-- this one).
ALTER TABLE image_triggers ADD COLUMN unsigned TEXT CHECK (unsigned IN ('allowed', 'asked', 'refused'));
