-- Every strategy, check and way back: gates between batches, limits inside them, retries, quarantine
-- by class of device, freezes, plans.
-- SQLite cannot change a CHECK or a key, so the tables that need another are made anew: first a copy of
-- each, then children before parents are dropped, and the other way round they are made and filled.

DROP VIEW active_rollouts;

CREATE TABLE image_triggers_before AS SELECT * FROM image_triggers;
CREATE TABLE image_rollouts_before AS SELECT * FROM image_rollouts;
CREATE TABLE rollout_commands_before AS SELECT * FROM rollout_commands;
CREATE TABLE image_plans_before AS SELECT * FROM image_plans;
CREATE TABLE device_rollout_status_before AS SELECT * FROM device_rollout_status;
CREATE TABLE quarantined_digests_before AS SELECT * FROM quarantined_digests;

DROP TABLE rollout_commands;
DROP TABLE image_rollouts;
DROP TABLE image_triggers;
DROP TABLE image_plans;
DROP TABLE device_rollout_status;
DROP TABLE quarantined_digests;

CREATE TABLE image_triggers (
    id               BLOB PRIMARY KEY,
    repository       TEXT NOT NULL,
    tag              TEXT,
    digest           TEXT,
    rule             TEXT NOT NULL,
    filters          TEXT NOT NULL,
    on_unresolved    TEXT NOT NULL CHECK (on_unresolved IN ('wait', 'ship_tag')),
    priority         INTEGER NOT NULL DEFAULT 2147483647,
    -- The plan it is to ship exactly.
    plan_id          BLOB,
    actor            TEXT NOT NULL,
    reason           TEXT NOT NULL,
    correlation_id   BLOB NOT NULL,
    created_at       TEXT NOT NULL,
    resolve_attempts INTEGER NOT NULL DEFAULT 0,
    resolve_error    TEXT,
    next_resolve_at  TEXT,
    decision         TEXT CHECK (decision IN ('rollout', 'no_devices', 'quarantined', 'plan_changed')),
    rollout_id       BLOB,
    detail           TEXT,
    settled_at       TEXT,
    CHECK (tag IS NOT NULL OR digest IS NOT NULL),
    CHECK ((decision IS NULL) = (settled_at IS NULL))
) STRICT;
CREATE INDEX image_triggers_open ON image_triggers (id) WHERE settled_at IS NULL;
CREATE INDEX image_triggers_unresolved ON image_triggers (next_resolve_at) WHERE digest IS NULL;
-- A plan is shipped once.
CREATE UNIQUE INDEX image_triggers_plan ON image_triggers (plan_id)
    WHERE plan_id IS NOT NULL AND (settled_at IS NULL OR rollout_id IS NOT NULL);
INSERT INTO image_triggers (id, repository, tag, digest, rule, filters, on_unresolved, actor, reason, correlation_id, created_at, resolve_attempts, resolve_error, next_resolve_at, decision, rollout_id, detail, settled_at)
    SELECT id, repository, tag, digest, rule, filters, on_unresolved, actor, reason, correlation_id, created_at, resolve_attempts, resolve_error, next_resolve_at, decision, rollout_id, detail, settled_at FROM image_triggers_before;
DROP TABLE image_triggers_before;

CREATE TABLE image_rollouts (
    id               BLOB PRIMARY KEY,
    policy_id        BLOB,
    delivery_id      BLOB,
    image_version_id BLOB REFERENCES image_versions (id),
    trigger_id       BLOB UNIQUE REFERENCES image_triggers (id),
    repository       TEXT NOT NULL,
    tag              TEXT,
    digest           TEXT,
    -- What the tag turned out to name, where the rollout ships it without a digest: that may be in
    -- quarantine, and it is what fails on devices.
    known_digest     TEXT,
    strategy         TEXT NOT NULL CHECK (strategy IN ('auto', 'staged', 'canary', 'manual', 'scheduled', 'ab')),
    rule             TEXT NOT NULL,
    filters          TEXT NOT NULL,
    tag_rule         TEXT NOT NULL,
    priority         INTEGER NOT NULL DEFAULT 0,
    -- Who let it go on in spite of freezes, and why; freezes made after that hold it again.
    freeze_override  TEXT,
    freeze_override_at TEXT,
    -- Filters of policies asked before: their devices are not this rollout's, also when they join later.
    without          TEXT NOT NULL DEFAULT '[]',
    seed             INTEGER NOT NULL,
    status           TEXT NOT NULL CHECK (status IN ('pending', 'awaiting_approval', 'scheduled', 'in_progress', 'paused', 'completed', 'failed', 'cancelled', 'superseded', 'rolling_back', 'rolled_back')),
    status_reason    TEXT,
    status_detail    TEXT,
    current_batch    INTEGER NOT NULL DEFAULT 0 CHECK (current_batch >= 0 AND current_batch <= batch_count),
    batch_count      INTEGER NOT NULL CHECK (batch_count >= 1),
    next_batch_at    TEXT,
    -- Verdicts up to here do not count against the failure budget: a person resumed in spite of them.
    failures_from    TEXT,
    total_devices    INTEGER NOT NULL CHECK (total_devices >= 0),
    version          INTEGER NOT NULL DEFAULT 1,
    correlation_id   BLOB NOT NULL,
    created_by       TEXT NOT NULL,
    created_at       TEXT NOT NULL,
    started_at       TEXT,
    finished_at      TEXT,
    -- One push makes a rollout for each policy that has devices for it.
    UNIQUE (image_version_id, policy_id),
    CHECK (tag IS NOT NULL OR digest IS NOT NULL),
    CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled', 'superseded', 'rolled_back')))
) STRICT;
CREATE INDEX image_rollouts_active ON image_rollouts (status, id) WHERE finished_at IS NULL;
-- One rollout of a repository by one policy at a time: a newer push supersedes the older.
CREATE UNIQUE INDEX image_rollouts_scope ON image_rollouts (policy_id, repository)
    WHERE policy_id IS NOT NULL AND status IN ('pending', 'awaiting_approval', 'scheduled', 'in_progress', 'paused');
INSERT INTO image_rollouts (id, policy_id, delivery_id, image_version_id, trigger_id, repository, tag, digest, known_digest, strategy, rule, filters, tag_rule, seed, status, status_reason, status_detail, current_batch, batch_count, next_batch_at, failures_from, total_devices, version, correlation_id, created_by, created_at, started_at, finished_at)
    SELECT id, policy_id, delivery_id, image_version_id, trigger_id, repository, tag, digest, known_digest, strategy, rule, filters, tag_rule, seed, status, status_reason, status_detail, current_batch, batch_count, next_batch_at, failures_from, total_devices, version, correlation_id, created_by, created_at, started_at, finished_at FROM image_rollouts_before;
DROP TABLE image_rollouts_before;

CREATE TABLE rollout_commands (
    id          BLOB PRIMARY KEY,
    rollout_id  BLOB NOT NULL REFERENCES image_rollouts (id),
    device_uuid BLOB,
    batch       INTEGER CHECK (batch >= 1),
    kind        TEXT NOT NULL CHECK (kind IN ('pause', 'resume', 'cancel', 'approve', 'next_batch', 'retry', 'override_freeze', 'rollback_batch', 'rollback_all', 'rollback_device')),
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    outcome     TEXT NOT NULL DEFAULT 'pending' CHECK (outcome IN ('pending', 'applied', 'no_change', 'refused')),
    detail      TEXT,
    created_at  TEXT NOT NULL,
    settled_at  TEXT,
    CHECK ((outcome = 'pending') = (settled_at IS NULL)),
    CHECK (kind <> 'rollback_device' OR device_uuid IS NOT NULL),
    CHECK (device_uuid IS NULL OR kind IN ('rollback_device', 'retry')),
    CHECK (kind <> 'rollback_batch' OR batch IS NOT NULL)
) STRICT;
CREATE INDEX rollout_commands_pending ON rollout_commands (rollout_id, id) WHERE settled_at IS NULL;
INSERT INTO rollout_commands (id, rollout_id, device_uuid, kind, actor, reason, outcome, detail, created_at, settled_at)
    SELECT id, rollout_id, device_uuid, kind, actor, reason, outcome, detail, created_at, settled_at FROM rollout_commands_before;
DROP TABLE rollout_commands_before;

CREATE TABLE image_plans (
    image_version_id BLOB NOT NULL REFERENCES image_versions (id),
    -- One push can be decided by several policies, each for its own devices; from 0.
    position         INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),
    decision         TEXT NOT NULL CHECK (decision IN ('rollout', 'no_policy', 'no_devices', 'quarantined', 'replaced', 'downgrade')),
    policy_id        BLOB,
    rollout_id       BLOB,
    detail           TEXT,
    decided_at       TEXT NOT NULL,
    PRIMARY KEY (image_version_id, position),
    CHECK ((decision = 'rollout') = (rollout_id IS NOT NULL))
) STRICT;
INSERT INTO image_plans (image_version_id, decision, policy_id, rollout_id, detail, decided_at)
    SELECT image_version_id, decision, policy_id, rollout_id, detail, decided_at FROM image_plans_before;
DROP TABLE image_plans_before;

CREATE TABLE device_rollout_status (
    rollout_id       BLOB NOT NULL,
    device_uuid      BLOB NOT NULL,
    batch            INTEGER NOT NULL CHECK (batch >= 1),
    status           TEXT NOT NULL CHECK (status IN ('pending', 'scheduled', 'updating', 'verifying', 'completed', 'failed', 'unreachable', 'inconclusive', 'skipped', 'rolling_back', 'rolled_back', 'rollback_failed')),
    reason           TEXT,
    old_state_id     BLOB,
    target_version   INTEGER,
    verdict          TEXT CHECK (verdict IN ('healthy', 'failed', 'environment')),
    evidence         TEXT,
    rollback_image   TEXT,
    rollback_version INTEGER,
    -- How often it was admitted again, and when it may be.
    retries          INTEGER NOT NULL DEFAULT 0 CHECK (retries >= 0),
    retry_at         TEXT,
    -- The slice it was admitted with last.
    slice            INTEGER,
    -- Why it is to be put back: from the order on until it is on its way.
    rollback_why     TEXT,
    admitted_at      TEXT,
    check_at         TEXT,
    deadline_at      TEXT,
    judged_at        TEXT,
    updated_at       TEXT NOT NULL,
    PRIMARY KEY (rollout_id, device_uuid),
    CHECK (status IN ('pending', 'skipped') OR target_version IS NOT NULL),
    -- A CHECK that is NULL passes, so a verdict that is not there must be ruled out by name.
    CHECK (status <> 'completed' OR (verdict IS NOT NULL AND verdict = 'healthy')),
    CHECK (status <> 'failed' OR (verdict IS NOT NULL AND verdict IN ('failed', 'environment'))),
    -- Every device that is on its way has a time at which it is looked at again.
    CHECK (status NOT IN ('scheduled', 'updating', 'verifying', 'rolling_back') OR check_at IS NOT NULL)
) STRICT;
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
INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, reason, old_state_id, target_version, verdict, evidence, rollback_image, rollback_version, admitted_at, check_at, deadline_at, judged_at, updated_at)
    SELECT rollout_id, device_uuid, batch, status, reason, old_state_id, target_version, verdict, evidence, rollback_image, rollback_version, admitted_at, check_at, deadline_at, judged_at, updated_at FROM device_rollout_status_before;
DROP TABLE device_rollout_status_before;

CREATE TABLE quarantined_digests (
    digest     TEXT NOT NULL,
    -- The class of devices it is about, as a tag; both empty for all devices.
    tag_key    TEXT NOT NULL DEFAULT '',
    tag_value  TEXT NOT NULL DEFAULT '',
    repository TEXT NOT NULL,
    rollout_id BLOB,
    reason     TEXT NOT NULL,
    evidence   TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (digest, tag_key, tag_value)
) STRICT;
INSERT INTO quarantined_digests (digest, repository, rollout_id, reason, evidence, created_at)
    SELECT digest, repository, rollout_id, reason, evidence, created_at FROM quarantined_digests_before;
DROP TABLE quarantined_digests_before;
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

CREATE VIEW active_rollouts AS
    SELECT r.id, r.policy_id, r.repository, r.tag, r.digest, r.strategy, r.status, r.status_reason,
           r.current_batch, r.batch_count, r.total_devices, r.created_at, r.started_at,
           (SELECT COUNT(*) FROM device_rollout_status d WHERE d.rollout_id = r.id AND d.verdict = 'healthy') AS completed_devices,
           (SELECT COUNT(*) FROM device_rollout_status d WHERE d.rollout_id = r.id AND d.verdict = 'failed') AS failed_devices
      FROM image_rollouts r
     WHERE r.finished_at IS NULL;

-- The version that a person set last, and when, whatever rollouts changed since: nobody undoes that.
ALTER TABLE device_targets ADD COLUMN hand_version INTEGER;
ALTER TABLE device_targets ADD COLUMN hand_at TEXT;
UPDATE device_targets SET hand_version = version, hand_at = updated_at WHERE source = 'operator';
-- The version that the target had when the device came into the rollout: what a person sets later is
-- newer. Of rows made before, the times tell.
ALTER TABLE device_rollout_status ADD COLUMN seen_version INTEGER;
UPDATE device_rollout_status SET seen_version = (SELECT
        CASE WHEN t.source = 'operator' AND t.updated_at > device_rollout_status.updated_at THEN 0 ELSE t.version END
      FROM device_targets t WHERE t.device_uuid = device_rollout_status.device_uuid)
    WHERE status = 'pending';

-- IANA name, where the device has one of its own.
ALTER TABLE devices ADD COLUMN time_zone TEXT;

-- Times in which nothing is admitted; the stop button is one without an end.
CREATE TABLE freezes (
    id          BLOB PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('freeze', 'stop')),
    reason      TEXT NOT NULL,
    starts_at   TEXT NOT NULL,
    ends_at     TEXT,
    created_by  TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    lifted_at   TEXT,
    lifted_by   TEXT,
    lift_reason TEXT,
    CHECK (ends_at IS NULL OR ends_at > starts_at),
    CHECK ((lifted_at IS NULL) = (lifted_by IS NULL))
) STRICT;
CREATE INDEX freezes_open ON freezes (starts_at) WHERE lifted_at IS NULL;
-- One stop at a time: who presses second finds the first.
CREATE UNIQUE INDEX freezes_one_stop ON freezes (kind) WHERE kind = 'stop' AND lifted_at IS NULL;

-- Who approved which batch; the rollout as a whole is batch 1.
CREATE TABLE rollout_approvals (
    rollout_id  BLOB NOT NULL REFERENCES image_rollouts (id),
    batch       INTEGER NOT NULL CHECK (batch >= 1),
    actor       TEXT NOT NULL,
    reason      TEXT NOT NULL,
    approved_at TEXT NOT NULL,
    PRIMARY KEY (rollout_id, batch, actor)
) STRICT;

-- One row for each slice of devices that was admitted: what a rate is counted from.
CREATE TABLE rollout_admissions (
    rollout_id  BLOB NOT NULL REFERENCES image_rollouts (id),
    slice       INTEGER NOT NULL CHECK (slice >= 1),
    admitted_at TEXT NOT NULL,
    batch       INTEGER NOT NULL CHECK (batch >= 1),
    devices     INTEGER NOT NULL CHECK (devices >= 0),
    PRIMARY KEY (rollout_id, slice)
) STRICT;
CREATE INDEX rollout_admissions_lately ON rollout_admissions (rollout_id, admitted_at);

-- Checks of a batch as a whole; position counts the gate checks of its rule from 0.
CREATE TABLE rollout_checks (
    rollout_id     BLOB NOT NULL REFERENCES image_rollouts (id),
    batch          INTEGER NOT NULL CHECK (batch >= 1),
    position       INTEGER NOT NULL CHECK (position >= 0),
    name           TEXT NOT NULL,
    status         TEXT NOT NULL CHECK (status IN ('pending', 'passed', 'failed', 'inconclusive')),
    tries          INTEGER NOT NULL DEFAULT 0,
    failed_in_row  INTEGER NOT NULL DEFAULT 0,
    evidence       TEXT NOT NULL,
    next_at        TEXT,
    deadline_at    TEXT NOT NULL,
    checked_at     TEXT,
    -- Who resumed the rollout although it had failed or was inconclusive: it counts as passed.
    waived_by      TEXT,
    PRIMARY KEY (rollout_id, batch, position),
    CHECK ((status = 'pending') = (next_at IS NOT NULL))
) STRICT;
CREATE INDEX rollout_checks_due ON rollout_checks (next_at) WHERE next_at IS NOT NULL;

-- Checks that health-checker runs against devices; position counts the checks of the batch's health
-- rule from 0. Small: rows are made when a device is verified, and only for rules with such checks.
CREATE TABLE device_checks (
    rollout_id     BLOB NOT NULL,
    device_uuid    BLOB NOT NULL,
    position       INTEGER NOT NULL CHECK (position >= 0),
    status         TEXT NOT NULL CHECK (status IN ('pending', 'passed', 'failed', 'inconclusive')),
    tries          INTEGER NOT NULL DEFAULT 0,
    failed_in_row  INTEGER NOT NULL DEFAULT 0,
    output         TEXT NOT NULL,
    next_at        TEXT,
    deadline_at    TEXT NOT NULL,
    checked_at     TEXT,
    PRIMARY KEY (rollout_id, device_uuid, position),
    CHECK ((status = 'pending') = (next_at IS NOT NULL))
) STRICT;
CREATE INDEX device_checks_due ON device_checks (next_at) WHERE next_at IS NOT NULL;

-- Devices that failed good images again and again, set aside until a time. A row stays when that time
-- is over, so that the next one is longer.
CREATE TABLE device_penalties (
    device_uuid BLOB PRIMARY KEY,
    reason      TEXT NOT NULL,
    evidence    TEXT NOT NULL,
    since       TEXT NOT NULL,
    until       TEXT NOT NULL,
    -- How often in a row; 0 once a person lifted it.
    times       INTEGER NOT NULL DEFAULT 1 CHECK (times >= 0),
    -- When its end was told.
    ended_at    TEXT,
    CHECK (until >= since)
) STRICT;
CREATE INDEX device_penalties_open ON device_penalties (until) WHERE ended_at IS NULL;

-- What a dry run showed, so that it can be shipped exactly so.
CREATE TABLE rollout_plans (
    id           BLOB PRIMARY KEY,
    request      TEXT NOT NULL,
    summary      TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    created_at   TEXT NOT NULL,
    expires_at   TEXT NOT NULL
) STRICT;
CREATE INDEX rollout_plans_expires ON rollout_plans (expires_at);
CREATE TABLE rollout_plan_devices (
    plan_id     BLOB NOT NULL REFERENCES rollout_plans (id) ON DELETE CASCADE,
    device_uuid BLOB NOT NULL,
    batch       INTEGER NOT NULL CHECK (batch >= 1),
    skip        TEXT,
    PRIMARY KEY (plan_id, device_uuid)
) STRICT;

-- The few turns that a rollout takes, beside the many events of its devices: who paused it, and when.
CREATE INDEX events_turns ON events (rollout_id, tx, seq)
    WHERE type IN ('image.rollout_batch_completed', 'image.rollout_paused', 'image.rollout_cancelled', 'image.rollout_superseded', 'image.rollback_started');
