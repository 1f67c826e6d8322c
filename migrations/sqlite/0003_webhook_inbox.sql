-- The inbox: what could not be read is kept too, deliveries are found by repository and read again, and
-- what endpoints refuse is counted.

-- What was wrong with a delivery that could not be read. Its decision is 'ignored' with the reason
-- 'malformed', for whoever does not look here.
ALTER TABLE webhook_deliveries ADD COLUMN rejected TEXT
    CHECK (rejected IS NULL OR (decision = 'ignored' AND reason_code = 'malformed'));
-- When somebody had it read again.
ALTER TABLE webhook_deliveries ADD COLUMN replayed_at TEXT;
CREATE INDEX webhook_deliveries_endpoint ON webhook_deliveries (endpoint, decision, received_at);

-- The repositories that a delivery tells of.
CREATE TABLE webhook_delivery_repositories (
    repository  TEXT NOT NULL,
    delivery_id BLOB NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    PRIMARY KEY (repository, delivery_id)
) STRICT;
CREATE INDEX webhook_delivery_repositories_delivery ON webhook_delivery_repositories (delivery_id);
INSERT INTO webhook_delivery_repositories (repository, delivery_id)
    SELECT DISTINCT (image.value ->> 'registry') || '/' || (image.value ->> 'repository'), d.id
    FROM webhook_deliveries d, json_each(d.images) AS image
    WHERE image.value ->> 'registry' IS NOT NULL AND image.value ->> 'repository' IS NOT NULL;

-- What an endpoint refused, by reason: nothing of these is stored otherwise, since nobody knows from
-- whom it came.
CREATE TABLE webhook_refusals (
    endpoint TEXT NOT NULL,
    reason   TEXT NOT NULL,
    refused  INTEGER NOT NULL CHECK (refused >= 1),
    last_at  TEXT NOT NULL,
    detail   TEXT NOT NULL,
    PRIMARY KEY (endpoint, reason)
) STRICT;
