-- What registries tell of images beyond their digests, what pushed versions wait for before they ship,
-- holds on policies and repositories, and the platform of each device.

-- One row for each digest that a policy takes. Facts and signatures are asked for apart: signatures come
-- after pushes, and not everybody wants them.
CREATE TABLE image_facts (
    repository         TEXT NOT NULL,
    digest             TEXT NOT NULL,
    correlation_id     UUID NOT NULL,
    -- All none until the registry has told.
    platforms          JSONB,
    built_at           TIMESTAMPTZ,
    artifact           BOOLEAN,
    told_at            TIMESTAMPTZ,
    attempts           BIGINT NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    error              TEXT,
    next_ask_at        TIMESTAMPTZ,
    -- What was found beside it, unverified: whoever ships verifies it again with the keys of that moment.
    signatures         JSONB,
    signatures_at      TIMESTAMPTZ,
    signature_attempts BIGINT NOT NULL DEFAULT 0 CHECK (signature_attempts >= 0),
    signature_error    TEXT,
    next_signature_at  TIMESTAMPTZ,
    -- Until when signatures are looked for; none while nobody wants any.
    signatures_until   TIMESTAMPTZ,
    PRIMARY KEY (repository, digest),
    CHECK ((told_at IS NULL) = (artifact IS NULL)),
    CHECK ((signatures_at IS NULL) = (signatures IS NULL))
);
CREATE INDEX image_facts_open ON image_facts (next_ask_at) WHERE next_ask_at IS NOT NULL;
CREATE INDEX image_facts_unsigned ON image_facts (next_signature_at) WHERE next_signature_at IS NOT NULL;

-- Policies that take a version and do not ship it yet.
CREATE TABLE image_waits (
    image_version_id UUID NOT NULL REFERENCES image_versions (id),
    policy_id        UUID NOT NULL,
    reason           TEXT NOT NULL CHECK (reason IN ('too_young', 'held', 'unsigned', 'wrong_signature', 'signature_unknown', 'platforms_unknown', 'build_date_unknown')),
    detail           TEXT NOT NULL,
    since            TIMESTAMPTZ NOT NULL,
    until            TIMESTAMPTZ,
    PRIMARY KEY (image_version_id, policy_id)
);

-- When the planner looks again at a version that waits; none where it is to look at once.
ALTER TABLE image_versions ADD COLUMN plan_after TIMESTAMPTZ;

ALTER TABLE image_plans
    DROP CONSTRAINT image_plans_decision_check,
    ADD CONSTRAINT image_plans_decision_check CHECK (decision IN ('rollout', 'no_policy', 'no_devices', 'quarantined', 'replaced', 'downgrade', 'below_newest', 'unsigned', 'not_an_image'));

-- Policies or repositories of which nothing new ships. Rollouts that are under way go on.
CREATE TABLE holds (
    id          UUID PRIMARY KEY,
    policy_id   UUID,
    repository  TEXT,
    reason      TEXT NOT NULL,
    ends_at     TIMESTAMPTZ,
    created_by  TEXT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    lifted_at   TIMESTAMPTZ,
    lifted_by   TEXT,
    lift_reason TEXT,
    CHECK ((policy_id IS NULL) <> (repository IS NULL)),
    CHECK (ends_at IS NULL OR ends_at > created_at),
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
CREATE INDEX holds_open ON holds (id) WHERE lifted_at IS NULL;

-- As the device says it, such as linux/arm64/v8; the tag `platform` of an operator goes before it.
ALTER TABLE devices ADD COLUMN platform TEXT;
CREATE INDEX devices_platform ON devices (platform) WHERE platform IS NOT NULL;
