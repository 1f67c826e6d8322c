-- What registries tell of images beyond their digests, what pushed versions wait for before they ship,
-- holds on policies and repositories, and the platform of each device.

-- One row for each digest that a policy takes. Facts and signatures are asked for apart: signatures come
-- after pushes, and not everybody wants them.
CREATE TABLE image_facts (
    repository         TEXT NOT NULL,
    digest             TEXT NOT NULL,
    correlation_id     BLOB NOT NULL,
    -- All none until the registry has told.
    platforms          TEXT,
    built_at           TEXT,
    artifact           INTEGER,
    told_at            TEXT,
    attempts           INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    error              TEXT,
    next_ask_at        TEXT,
    -- What was found beside it, unverified: whoever ships verifies it again with the keys of that moment.
    signatures         TEXT,
    signatures_at      TEXT,
    signature_attempts INTEGER NOT NULL DEFAULT 0 CHECK (signature_attempts >= 0),
    signature_error    TEXT,
    next_signature_at  TEXT,
    -- Until when signatures are looked for; none while nobody wants any.
    signatures_until   TEXT,
    PRIMARY KEY (repository, digest),
    CHECK ((told_at IS NULL) = (artifact IS NULL)),
    CHECK ((signatures_at IS NULL) = (signatures IS NULL))
) STRICT;
CREATE INDEX image_facts_open ON image_facts (next_ask_at) WHERE next_ask_at IS NOT NULL;
CREATE INDEX image_facts_unsigned ON image_facts (next_signature_at) WHERE next_signature_at IS NOT NULL;

-- Policies that take a version and do not ship it yet.
CREATE TABLE image_waits (
    image_version_id BLOB NOT NULL REFERENCES image_versions (id),
    policy_id        BLOB NOT NULL,
    reason           TEXT NOT NULL CHECK (reason IN ('too_young', 'held', 'unsigned', 'wrong_signature', 'signature_unknown', 'platforms_unknown', 'build_date_unknown')),
    detail           TEXT NOT NULL,
    since            TEXT NOT NULL,
    until            TEXT,
    PRIMARY KEY (image_version_id, policy_id)
) STRICT;

-- When the planner looks again at a version that waits; none where it is to look at once.
ALTER TABLE image_versions ADD COLUMN plan_after TEXT;

-- SQLite cannot change a CHECK, so the table is made anew.
CREATE TABLE image_plans_before AS SELECT * FROM image_plans;
DROP TABLE image_plans;
CREATE TABLE image_plans (
    image_version_id BLOB NOT NULL REFERENCES image_versions (id),
    -- One push can be decided by several policies, each for its own devices; from 0.
    position         INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),
    decision         TEXT NOT NULL CHECK (decision IN ('rollout', 'no_policy', 'no_devices', 'quarantined', 'replaced', 'downgrade', 'below_newest', 'unsigned', 'not_an_image')),
    policy_id        BLOB,
    rollout_id       BLOB,
    detail           TEXT,
    decided_at       TEXT NOT NULL,
    PRIMARY KEY (image_version_id, position),
    CHECK ((decision = 'rollout') = (rollout_id IS NOT NULL))
) STRICT;
INSERT INTO image_plans (image_version_id, position, decision, policy_id, rollout_id, detail, decided_at)
    SELECT image_version_id, position, decision, policy_id, rollout_id, detail, decided_at FROM image_plans_before;
DROP TABLE image_plans_before;

-- Policies or repositories of which nothing new ships. Rollouts that are under way go on.
CREATE TABLE holds (
    id          BLOB PRIMARY KEY,
    policy_id   BLOB,
    repository  TEXT,
    reason      TEXT NOT NULL,
    ends_at     TEXT,
    created_by  TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    lifted_at   TEXT,
    lifted_by   TEXT,
    lift_reason TEXT,
    CHECK ((policy_id IS NULL) <> (repository IS NULL)),
    CHECK (ends_at IS NULL OR ends_at > created_at),
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
) STRICT;
CREATE INDEX holds_open ON holds (id) WHERE lifted_at IS NULL;

-- As the device says it, such as linux/arm64/v8; the tag `platform` of an operator goes before it.
ALTER TABLE devices ADD COLUMN platform TEXT;
CREATE INDEX devices_platform ON devices (platform) WHERE platform IS NOT NULL;
