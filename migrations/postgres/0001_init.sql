-- The first schema. The SQLite file beside this one says the same in its own types; a test compares
-- tables and columns. States are TEXT with CHECK; times are UTC; JSON is JSONB.

CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE api_keys (
    id         UUID PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    key_hash   BYTEA NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ
);

CREATE TABLE fleets (
    id         TEXT PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE provisioning_keys (
    id          UUID PRIMARY KEY,
    fleet_id    TEXT NOT NULL REFERENCES fleets (id),
    key_hash    BYTEA NOT NULL UNIQUE,
    description TEXT NOT NULL,
    max_devices BIGINT NOT NULL CHECK (max_devices > 0),
    devices     BIGINT NOT NULL DEFAULT 0 CHECK (devices >= 0 AND devices <= max_devices),
    expires_at  TIMESTAMPTZ NOT NULL,
    revoked_at  TIMESTAMPTZ,
    created_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX provisioning_keys_fleet ON provisioning_keys (fleet_id, id);

CREATE TABLE devices (
    id                  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid                UUID NOT NULL UNIQUE,
    name                TEXT NOT NULL,
    device_type         TEXT NOT NULL,
    fleet_id            TEXT NOT NULL REFERENCES fleets (id),
    key_hash            BYTEA NOT NULL UNIQUE,
    provisioning_key_id UUID REFERENCES provisioning_keys (id),
    mac_address         TEXT,
    os_version          TEXT,
    agent_version       TEXT,
    application_id      BIGINT,
    enabled             BOOLEAN NOT NULL DEFAULT TRUE,
    -- Drawn from the uuid; batches are drawn from it and the rollout's seed: docs/adr/0005-batches.md.
    shuffle             BIGINT NOT NULL CHECK (shuffle >= 0 AND shuffle < 2147483647),
    created_at          TIMESTAMPTZ NOT NULL
);
CREATE INDEX devices_fleet ON devices (fleet_id, uuid);

CREATE TABLE device_tags (
    device_uuid UUID NOT NULL REFERENCES devices (uuid) ON DELETE CASCADE,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (device_uuid, key)
);
CREATE INDEX device_tags_value ON device_tags (key, value, device_uuid);

-- What devices are to run, shared by all that want the same; the id is made from the content.
CREATE TABLE target_states (
    id         UUID PRIMARY KEY,
    body       JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- The services of each target state, so that "who runs this image" is a join.
CREATE TABLE target_services (
    state_id     UUID NOT NULL REFERENCES target_states (id) ON DELETE CASCADE,
    app_id       BIGINT NOT NULL,
    service_id   BIGINT NOT NULL,
    service_name TEXT NOT NULL,
    repository   TEXT NOT NULL,
    image        TEXT NOT NULL,
    PRIMARY KEY (state_id, app_id, service_id)
);
CREATE INDEX target_services_repository ON target_services (repository, state_id);

CREATE TABLE device_targets (
    device_uuid UUID PRIMARY KEY REFERENCES devices (uuid) ON DELETE CASCADE,
    state_id    UUID NOT NULL REFERENCES target_states (id),
    version     BIGINT NOT NULL CHECK (version >= 1),
    source      TEXT NOT NULL CHECK (source IN ('initial', 'operator', 'rollout', 'rollback')),
    rollout_id  UUID,
    updated_at  TIMESTAMPTZ NOT NULL,
    CHECK (rollout_id IS NOT NULL OR source IN ('initial', 'operator'))
);
CREATE INDEX device_targets_state ON device_targets (state_id, device_uuid);

-- The last report that counts, and what is made of all of them so far.
CREATE TABLE device_current_state (
    device_uuid UUID PRIMARY KEY REFERENCES devices (uuid) ON DELETE CASCADE,
    report      JSONB NOT NULL,
    observation JSONB NOT NULL,
    report_id   UUID,
    received_at TIMESTAMPTZ NOT NULL
);

-- When a device polled or reported last, written in groups and coarsely.
CREATE TABLE device_presence (
    device_uuid  UUID PRIMARY KEY,
    last_seen_at TIMESTAMPTZ NOT NULL
);

-- What each service of a device proved healthy on last: where a rollback goes.
CREATE TABLE device_last_good (
    device_uuid UUID NOT NULL,
    app_id      BIGINT NOT NULL,
    service_id  BIGINT NOT NULL,
    image       TEXT NOT NULL,
    proved_at   TIMESTAMPTZ NOT NULL,
    rollout_id  UUID,
    PRIMARY KEY (device_uuid, app_id, service_id)
);

-- Digests that failed on a device: never shipped to it again until a person lifts that.
CREATE TABLE device_failed_images (
    device_uuid UUID NOT NULL,
    digest      TEXT NOT NULL,
    rollout_id  UUID NOT NULL,
    failed_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (device_uuid, digest)
);
CREATE INDEX device_failed_images_digest ON device_failed_images (digest);

CREATE TABLE device_logs (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_uuid  UUID NOT NULL REFERENCES devices (uuid) ON DELETE CASCADE,
    logged_at    TIMESTAMPTZ NOT NULL,
    received_at  TIMESTAMPTZ NOT NULL,
    level        TEXT NOT NULL,
    message      TEXT NOT NULL,
    service_name TEXT,
    container_id TEXT,
    is_stderr    BOOLEAN NOT NULL,
    source       JSONB
);
CREATE INDEX device_logs_device ON device_logs (device_uuid, id);
CREATE INDEX device_logs_received ON device_logs (received_at);

CREATE TABLE webhook_deliveries (
    id                 UUID PRIMARY KEY,
    endpoint           TEXT NOT NULL,
    sender             TEXT NOT NULL,
    sender_delivery_id TEXT,
    dedupe_key         TEXT NOT NULL,
    headers            JSONB NOT NULL,
    -- NULL once the time of retention has passed.
    body               BYTEA,
    body_bytes         BIGINT NOT NULL CHECK (body_bytes >= 0),
    decision           TEXT NOT NULL CHECK (decision IN ('accepted', 'duplicate', 'ignored')),
    reason_code        TEXT,
    images             JSONB NOT NULL,
    correlation_id     UUID NOT NULL,
    received_at        TIMESTAMPTZ NOT NULL,
    received_count     BIGINT NOT NULL DEFAULT 1 CHECK (received_count >= 1),
    UNIQUE (endpoint, dedupe_key),
    CHECK ((decision = 'ignored') = (reason_code IS NOT NULL))
);
CREATE INDEX webhook_deliveries_received ON webhook_deliveries (received_at) WHERE body IS NOT NULL;

-- Every version of a tag that was seen, in the order in which it was seen.
CREATE TABLE image_versions (
    id               UUID PRIMARY KEY,
    repository       TEXT NOT NULL,
    tag              TEXT NOT NULL,
    digest           TEXT,
    kind             TEXT NOT NULL CHECK (kind IN ('new', 'moved')),
    actor            TEXT,
    pushed_at        TIMESTAMPTZ,
    seen_at          TIMESTAMPTZ NOT NULL,
    delivery_id      UUID REFERENCES webhook_deliveries (id),
    correlation_id   UUID NOT NULL,
    replaced_at      TIMESTAMPTZ,
    resolve_attempts BIGINT NOT NULL DEFAULT 0,
    resolve_error    TEXT,
    next_resolve_at  TIMESTAMPTZ,
    -- When the planner decided about it; none while it is still to be planned.
    planned_at       TIMESTAMPTZ,
    CHECK (digest IS NULL OR next_resolve_at IS NULL)
);
-- One version of a tag is the present one.
CREATE UNIQUE INDEX image_versions_present ON image_versions (repository, tag) WHERE replaced_at IS NULL;
CREATE INDEX image_versions_unresolved ON image_versions (next_resolve_at) WHERE next_resolve_at IS NOT NULL;
CREATE INDEX image_versions_open ON image_versions (id) WHERE planned_at IS NULL;
CREATE INDEX image_versions_digest ON image_versions (repository, tag, digest);
CREATE INDEX image_versions_delivery ON image_versions (delivery_id) WHERE delivery_id IS NOT NULL;

-- What the planner made of each version.
CREATE TABLE image_plans (
    image_version_id UUID PRIMARY KEY REFERENCES image_versions (id),
    decision         TEXT NOT NULL CHECK (decision IN ('rollout', 'no_policy', 'no_devices', 'quarantined', 'replaced')),
    policy_id        UUID,
    rollout_id       UUID,
    detail           TEXT,
    decided_at       TIMESTAMPTZ NOT NULL,
    CHECK ((decision = 'rollout') = (rollout_id IS NOT NULL))
);

CREATE TABLE image_update_policies (
    id         UUID PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    enabled    BOOLEAN NOT NULL,
    priority   BIGINT NOT NULL,
    spec       JSONB NOT NULL,
    version    BIGINT NOT NULL CHECK (version >= 1),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

-- Rollouts that operators ask for by hand; the planner makes them.
CREATE TABLE image_triggers (
    id               UUID PRIMARY KEY,
    repository       TEXT NOT NULL,
    tag              TEXT,
    digest           TEXT,
    rule             JSONB NOT NULL,
    filters          JSONB NOT NULL,
    on_unresolved    TEXT NOT NULL CHECK (on_unresolved IN ('wait', 'ship_tag')),
    actor            TEXT NOT NULL,
    reason           TEXT NOT NULL,
    correlation_id   UUID NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    resolve_attempts BIGINT NOT NULL DEFAULT 0,
    resolve_error    TEXT,
    next_resolve_at  TIMESTAMPTZ,
    decision         TEXT CHECK (decision IN ('rollout', 'no_devices', 'quarantined')),
    rollout_id       UUID,
    detail           TEXT,
    settled_at       TIMESTAMPTZ,
    CHECK (tag IS NOT NULL OR digest IS NOT NULL),
    CHECK ((decision IS NULL) = (settled_at IS NULL))
);
CREATE INDEX image_triggers_open ON image_triggers (id) WHERE settled_at IS NULL;
CREATE INDEX image_triggers_unresolved ON image_triggers (next_resolve_at) WHERE digest IS NULL;

CREATE TABLE image_rollouts (
    id               UUID PRIMARY KEY,
    policy_id        UUID,
    delivery_id      UUID,
    image_version_id UUID UNIQUE REFERENCES image_versions (id),
    trigger_id       UUID UNIQUE REFERENCES image_triggers (id),
    repository       TEXT NOT NULL,
    tag              TEXT,
    digest           TEXT,
    -- What the tag turned out to name, where the rollout ships it without a digest: that may be in
    -- quarantine, and it is what fails on devices.
    known_digest     TEXT,
    strategy         TEXT NOT NULL CHECK (strategy IN ('auto', 'staged', 'canary', 'manual', 'scheduled')),
    rule             JSONB NOT NULL,
    filters          JSONB NOT NULL,
    tag_rule         JSONB NOT NULL,
    seed             BIGINT NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('pending', 'awaiting_approval', 'scheduled', 'in_progress', 'paused', 'completed', 'failed', 'cancelled', 'superseded', 'rolling_back', 'rolled_back')),
    status_reason    TEXT,
    status_detail    TEXT,
    current_batch    BIGINT NOT NULL DEFAULT 0 CHECK (current_batch >= 0 AND current_batch <= batch_count),
    batch_count      BIGINT NOT NULL CHECK (batch_count >= 1),
    next_batch_at    TIMESTAMPTZ,
    -- Verdicts up to here do not count against the failure budget: a person resumed in spite of them.
    failures_from    TIMESTAMPTZ,
    total_devices    BIGINT NOT NULL CHECK (total_devices >= 0),
    version          BIGINT NOT NULL DEFAULT 1,
    correlation_id   UUID NOT NULL,
    created_by       TEXT NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL,
    started_at       TIMESTAMPTZ,
    finished_at      TIMESTAMPTZ,
    CHECK (tag IS NOT NULL OR digest IS NOT NULL),
    CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled', 'superseded', 'rolled_back')))
);
CREATE INDEX image_rollouts_active ON image_rollouts (status, id) WHERE finished_at IS NULL;
-- One rollout of a repository by one policy at a time: a newer push supersedes the older.
CREATE UNIQUE INDEX image_rollouts_scope ON image_rollouts (policy_id, repository)
    WHERE policy_id IS NOT NULL AND status IN ('pending', 'awaiting_approval', 'scheduled', 'in_progress', 'paused');

-- No foreign keys here on purpose: the rows are made from devices inside the transaction that makes
-- the rollout, neither is ever deleted, and two checks for each of a million rows cost more than the rows.
CREATE TABLE device_rollout_status (
    rollout_id       UUID NOT NULL,
    device_uuid      UUID NOT NULL,
    batch            BIGINT NOT NULL CHECK (batch >= 1),
    status           TEXT NOT NULL CHECK (status IN ('pending', 'scheduled', 'updating', 'verifying', 'completed', 'failed', 'unreachable', 'skipped', 'rolling_back', 'rolled_back', 'rollback_failed')),
    reason           TEXT,
    old_state_id     UUID,
    target_version   BIGINT,
    verdict          TEXT CHECK (verdict IN ('healthy', 'failed')),
    evidence         JSONB,
    rollback_image   TEXT,
    rollback_version BIGINT,
    admitted_at      TIMESTAMPTZ,
    check_at         TIMESTAMPTZ,
    deadline_at      TIMESTAMPTZ,
    judged_at        TIMESTAMPTZ,
    updated_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (rollout_id, device_uuid),
    CHECK (status IN ('pending', 'skipped') OR target_version IS NOT NULL),
    -- A CHECK that is NULL passes, so a verdict that is not there must be ruled out by name.
    CHECK (status <> 'completed' OR (verdict IS NOT NULL AND verdict = 'healthy')),
    CHECK (status <> 'failed' OR (verdict IS NOT NULL AND verdict = 'failed')),
    -- Every device that is on its way has a time at which it is looked at again.
    CHECK (status NOT IN ('scheduled', 'updating', 'verifying', 'rolling_back') OR check_at IS NOT NULL)
);
CREATE INDEX device_rollout_status_batch ON device_rollout_status (rollout_id, batch, status);
CREATE INDEX device_rollout_status_check ON device_rollout_status (check_at)
    WHERE status IN ('scheduled', 'updating', 'verifying', 'rolling_back');
CREATE INDEX device_rollout_status_device ON device_rollout_status (device_uuid)
    WHERE status IN ('scheduled', 'updating', 'verifying', 'unreachable', 'rolling_back');
-- Which rollouts have been at a device: an older one must not undo a newer one. Rows are pending at
-- first, so that making a rollout does not write this.
CREATE INDEX device_rollout_status_moved ON device_rollout_status (device_uuid)
    WHERE status <> 'pending';
-- Failed devices that nobody has decided about yet, and silent ones that may come back.
CREATE INDEX device_rollout_status_failed ON device_rollout_status (check_at)
    WHERE status = 'failed' AND check_at IS NOT NULL;
CREATE INDEX device_rollout_status_unreachable ON device_rollout_status (device_uuid)
    WHERE status = 'unreachable';
CREATE INDEX device_rollout_status_judged ON device_rollout_status (rollout_id, judged_at)
    WHERE verdict IS NOT NULL;
-- Whether anything failed in a rollout is asked every second.
CREATE INDEX device_rollout_status_failures ON device_rollout_status (rollout_id, judged_at)
    WHERE verdict = 'failed';

CREATE TABLE rollout_commands (
    id          UUID PRIMARY KEY,
    rollout_id  UUID NOT NULL REFERENCES image_rollouts (id),
    device_uuid UUID,
    kind        TEXT NOT NULL CHECK (kind IN ('pause', 'resume', 'cancel', 'approve', 'rollback_all', 'rollback_device')),
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    outcome     TEXT NOT NULL DEFAULT 'pending' CHECK (outcome IN ('pending', 'applied', 'no_change', 'refused')),
    detail      TEXT,
    created_at  TIMESTAMPTZ NOT NULL,
    settled_at  TIMESTAMPTZ,
    CHECK ((outcome = 'pending') = (settled_at IS NULL)),
    CHECK ((kind = 'rollback_device') = (device_uuid IS NOT NULL))
);
CREATE INDEX rollout_commands_pending ON rollout_commands (rollout_id, id) WHERE settled_at IS NULL;

CREATE TABLE quarantined_digests (
    digest     TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    rollout_id UUID,
    reason     TEXT NOT NULL,
    evidence   JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- The event log. Ids are handed out before commits, so a reader's place is the pair (tx, seq) over
-- settled transactions: see docs/adr/0002-event-log.md.
CREATE TABLE events (
    tx             BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    seq            BIGINT GENERATED ALWAYS AS IDENTITY,
    type           TEXT NOT NULL,
    rollout_id     UUID,
    device_uuid    UUID,
    subject        TEXT,
    version        BIGINT,
    data           JSONB NOT NULL,
    actor          TEXT NOT NULL,
    occurred_at    TIMESTAMPTZ NOT NULL,
    correlation_id UUID,
    causation_tx   BIGINT,
    causation_seq  BIGINT,
    PRIMARY KEY (tx, seq)
);
CREATE INDEX events_rollout ON events (rollout_id, tx, seq) WHERE rollout_id IS NOT NULL;
CREATE INDEX events_correlation ON events (correlation_id, tx, seq) WHERE correlation_id IS NOT NULL;
CREATE INDEX events_occurred ON events (occurred_at);

CREATE VIEW settled_events AS
    SELECT * FROM events WHERE tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

CREATE TABLE event_cursors (
    consumer   TEXT PRIMARY KEY,
    tx         BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE VIEW active_rollouts AS
    SELECT r.id, r.policy_id, r.repository, r.tag, r.digest, r.strategy, r.status, r.status_reason,
           r.current_batch, r.batch_count, r.total_devices, r.created_at, r.started_at,
           (SELECT COUNT(*) FROM device_rollout_status d WHERE d.rollout_id = r.id AND d.verdict = 'healthy') AS completed_devices,
           (SELECT COUNT(*) FROM device_rollout_status d WHERE d.rollout_id = r.id AND d.verdict = 'failed') AS failed_devices
      FROM image_rollouts r
     WHERE r.finished_at IS NULL;
