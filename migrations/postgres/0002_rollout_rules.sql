-- Every strategy, check and way back: gates between batches, limits inside them, retries, quarantine
-- by class of device, freezes, plans.

ALTER TABLE image_rollouts
    DROP CONSTRAINT image_rollouts_strategy_check,
    ADD CONSTRAINT image_rollouts_strategy_check CHECK (strategy IN ('auto', 'staged', 'canary', 'manual', 'scheduled', 'ab')),
    DROP CONSTRAINT image_rollouts_image_version_id_key,
    -- One push makes a rollout for each policy that has devices for it.
    ADD CONSTRAINT image_rollouts_version_policy UNIQUE (image_version_id, policy_id),
    ADD COLUMN priority BIGINT NOT NULL DEFAULT 0,
    -- Who let it go on in spite of freezes, and why; freezes made after that hold it again.
    ADD COLUMN freeze_override TEXT,
    ADD COLUMN freeze_override_at TIMESTAMPTZ,
    -- Filters of policies asked before: their devices are not this rollout's, also when they join later.
    ADD COLUMN without JSONB NOT NULL DEFAULT '[]';

ALTER TABLE rollout_commands
    DROP CONSTRAINT rollout_commands_kind_check,
    ADD CONSTRAINT rollout_commands_kind_check CHECK (kind IN ('pause', 'resume', 'cancel', 'approve', 'next_batch', 'retry', 'override_freeze', 'rollback_batch', 'rollback_all', 'rollback_device')),
    ADD COLUMN batch BIGINT CHECK (batch >= 1),
    DROP CONSTRAINT rollout_commands_check1,
    ADD CHECK (kind <> 'rollback_device' OR device_uuid IS NOT NULL),
    ADD CHECK (device_uuid IS NULL OR kind IN ('rollback_device', 'retry')),
    ADD CHECK (kind <> 'rollback_batch' OR batch IS NOT NULL);

ALTER TABLE image_plans
    DROP CONSTRAINT image_plans_pkey,
    -- One push can be decided by several policies, each for its own devices; from 0.
    ADD COLUMN position BIGINT NOT NULL DEFAULT 0 CHECK (position >= 0),
    ADD PRIMARY KEY (image_version_id, position),
    DROP CONSTRAINT image_plans_decision_check,
    ADD CONSTRAINT image_plans_decision_check CHECK (decision IN ('rollout', 'no_policy', 'no_devices', 'quarantined', 'replaced', 'downgrade'));

ALTER TABLE device_rollout_status
    DROP CONSTRAINT device_rollout_status_status_check,
    ADD CONSTRAINT device_rollout_status_status_check CHECK (status IN ('pending', 'scheduled', 'updating', 'verifying', 'completed', 'failed', 'unreachable', 'inconclusive', 'skipped', 'rolling_back', 'rolled_back', 'rollback_failed')),
    DROP CONSTRAINT device_rollout_status_verdict_check,
    ADD CONSTRAINT device_rollout_status_verdict_check CHECK (verdict IN ('healthy', 'failed', 'environment')),
    DROP CONSTRAINT device_rollout_status_check2,
    ADD CHECK (status <> 'failed' OR (verdict IS NOT NULL AND verdict IN ('failed', 'environment'))),
    -- How often it was admitted again, and when it may be.
    ADD COLUMN retries BIGINT NOT NULL DEFAULT 0 CHECK (retries >= 0),
    ADD COLUMN retry_at TIMESTAMPTZ,
    -- The slice it was admitted with last.
    ADD COLUMN slice BIGINT,
    -- Why it is to be put back: from the order on until it is on its way.
    ADD COLUMN rollback_why TEXT;
CREATE INDEX device_rollout_status_retry ON device_rollout_status (rollout_id, retry_at)
    WHERE status = 'pending' AND retry_at IS NOT NULL;
-- Whether a device that waits to be tried again is unavailable is asked by device.
CREATE INDEX device_rollout_status_retrying ON device_rollout_status (device_uuid)
    WHERE status = 'pending' AND retry_at IS NOT NULL;
CREATE INDEX device_rollout_status_ordered_back ON device_rollout_status (rollout_id, batch, device_uuid)
    WHERE rollback_why IS NOT NULL;
-- Whether anything of the kind happened in a rollout is asked every second.
CREATE INDEX device_rollout_status_environment ON device_rollout_status (rollout_id, judged_at)
    WHERE verdict = 'environment';
CREATE INDEX device_rollout_status_silent ON device_rollout_status (rollout_id, updated_at)
    WHERE status = 'unreachable' AND reason = 'silent_after_update';

ALTER TABLE quarantined_digests
    DROP CONSTRAINT quarantined_digests_pkey,
    -- The class of devices it is about, as a tag; both empty for all devices.
    ADD COLUMN tag_key TEXT NOT NULL DEFAULT '',
    ADD COLUMN tag_value TEXT NOT NULL DEFAULT '',
    ADD PRIMARY KEY (digest, tag_key, tag_value);

ALTER TABLE image_triggers
    DROP CONSTRAINT image_triggers_decision_check,
    ADD CONSTRAINT image_triggers_decision_check CHECK (decision IN ('rollout', 'no_devices', 'quarantined', 'plan_changed')),
    ADD COLUMN priority BIGINT NOT NULL DEFAULT 2147483647,
    -- The plan it is to ship exactly.
    ADD COLUMN plan_id UUID;
-- A plan is shipped once.
CREATE UNIQUE INDEX image_triggers_plan ON image_triggers (plan_id)
    WHERE plan_id IS NOT NULL AND (settled_at IS NULL OR rollout_id IS NOT NULL);

-- The version that a person set last, and when, whatever rollouts changed since: nobody undoes that.
ALTER TABLE device_targets ADD COLUMN hand_version BIGINT;
ALTER TABLE device_targets ADD COLUMN hand_at TIMESTAMPTZ;
UPDATE device_targets SET hand_version = version, hand_at = updated_at WHERE source = 'operator';
-- The version that the target had when the device came into the rollout: what a person sets later is
-- newer. Of rows made before, the times tell.
ALTER TABLE device_rollout_status ADD COLUMN seen_version BIGINT;
UPDATE device_rollout_status SET seen_version = (SELECT
        CASE WHEN t.source = 'operator' AND t.updated_at > device_rollout_status.updated_at THEN 0 ELSE t.version END
      FROM device_targets t WHERE t.device_uuid = device_rollout_status.device_uuid)
    WHERE status = 'pending';

-- IANA name, where the device has one of its own.
ALTER TABLE devices ADD COLUMN time_zone TEXT;

-- Times in which nothing is admitted; the stop button is one without an end.
CREATE TABLE freezes (
    id          UUID PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('freeze', 'stop')),
    reason      TEXT NOT NULL,
    starts_at   TIMESTAMPTZ NOT NULL,
    ends_at     TIMESTAMPTZ,
    created_by  TEXT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    lifted_at   TIMESTAMPTZ,
    lifted_by   TEXT,
    lift_reason TEXT,
    CHECK (ends_at IS NULL OR ends_at > starts_at),
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
);
CREATE INDEX freezes_open ON freezes (starts_at) WHERE lifted_at IS NULL;
-- One stop at a time: who presses second finds the first.
CREATE UNIQUE INDEX freezes_one_stop ON freezes (kind) WHERE kind = 'stop' AND lifted_at IS NULL;

-- Who approved which batch; the rollout as a whole is batch 1.
CREATE TABLE rollout_approvals (
    rollout_id  UUID NOT NULL REFERENCES image_rollouts (id),
    batch       BIGINT NOT NULL CHECK (batch >= 1),
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    approved_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (rollout_id, batch, actor)
);

-- One row for each slice of devices that was admitted: what a rate is counted from.
CREATE TABLE rollout_admissions (
    rollout_id  UUID NOT NULL REFERENCES image_rollouts (id),
    slice       BIGINT NOT NULL CHECK (slice >= 1),
    admitted_at TIMESTAMPTZ NOT NULL,
    batch       BIGINT NOT NULL CHECK (batch >= 1),
    devices     BIGINT NOT NULL CHECK (devices >= 0),
    PRIMARY KEY (rollout_id, slice)
);
CREATE INDEX rollout_admissions_lately ON rollout_admissions (rollout_id, admitted_at);

-- Checks of a batch as a whole; position counts the gate checks of its rule from 0.
CREATE TABLE rollout_checks (
    rollout_id     UUID NOT NULL REFERENCES image_rollouts (id),
    batch          BIGINT NOT NULL CHECK (batch >= 1),
    position       BIGINT NOT NULL CHECK (position >= 0),
    name           TEXT NOT NULL,
    status         TEXT NOT NULL CHECK (status IN ('pending', 'passed', 'failed', 'inconclusive')),
    tries          BIGINT NOT NULL DEFAULT 0,
    failed_in_row  BIGINT NOT NULL DEFAULT 0,
    evidence       JSONB NOT NULL,
    next_at        TIMESTAMPTZ,
    deadline_at    TIMESTAMPTZ NOT NULL,
    checked_at     TIMESTAMPTZ,
    -- Who resumed the rollout although it had failed or was inconclusive: it counts as passed.
    waived_by      TEXT,
    PRIMARY KEY (rollout_id, batch, position),
    CHECK ((status = 'pending') = (next_at IS NOT NULL))
);
CREATE INDEX rollout_checks_due ON rollout_checks (next_at) WHERE next_at IS NOT NULL;

-- Checks that health-checker runs against devices; position counts the checks of the batch's health
-- rule from 0. Small: rows are made when a device is verified, and only for rules with such checks.
CREATE TABLE device_checks (
    rollout_id     UUID NOT NULL,
    device_uuid    UUID NOT NULL,
    position       BIGINT NOT NULL CHECK (position >= 0),
    status         TEXT NOT NULL CHECK (status IN ('pending', 'passed', 'failed', 'inconclusive')),
    tries          BIGINT NOT NULL DEFAULT 0,
    failed_in_row  BIGINT NOT NULL DEFAULT 0,
    output         TEXT NOT NULL,
    next_at        TIMESTAMPTZ,
    deadline_at    TIMESTAMPTZ NOT NULL,
    checked_at     TIMESTAMPTZ,
    PRIMARY KEY (rollout_id, device_uuid, position),
    CHECK ((status = 'pending') = (next_at IS NOT NULL))
);
CREATE INDEX device_checks_due ON device_checks (next_at) WHERE next_at IS NOT NULL;

-- Devices that failed good images again and again, set aside until a time. A row stays when that time
-- is over, so that the next one is longer.
CREATE TABLE device_penalties (
    device_uuid UUID PRIMARY KEY,
    reason      TEXT NOT NULL,
    evidence    JSONB NOT NULL,
    since       TIMESTAMPTZ NOT NULL,
    until       TIMESTAMPTZ NOT NULL,
    -- How often in a row; 0 once a person lifted it.
    times       BIGINT NOT NULL DEFAULT 1 CHECK (times >= 0),
    -- When its end was told.
    ended_at    TIMESTAMPTZ,
    CHECK (until >= since)
);
CREATE INDEX device_penalties_open ON device_penalties (until) WHERE ended_at IS NULL;

-- What a dry run showed, so that it can be shipped exactly so.
CREATE TABLE rollout_plans (
    id           UUID PRIMARY KEY,
    request      JSONB NOT NULL,
    summary      JSONB NOT NULL,
    fingerprint  TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX rollout_plans_expires ON rollout_plans (expires_at);
CREATE TABLE rollout_plan_devices (
    plan_id     UUID NOT NULL REFERENCES rollout_plans (id) ON DELETE CASCADE,
    device_uuid UUID NOT NULL,
    batch       BIGINT NOT NULL CHECK (batch >= 1),
    skip        TEXT,
    PRIMARY KEY (plan_id, device_uuid)
);

-- The few turns that a rollout takes, beside the many events of its devices: who paused it, and when.
CREATE INDEX events_turns ON events (rollout_id, tx, seq)
    WHERE type IN ('image.rollout_batch_completed', 'image.rollout_paused', 'image.rollout_cancelled', 'image.rollout_superseded', 'image.rollback_started');
