-- Looking for pushes that no webhook told of, and how often registries may be asked.

-- How often each registry may be asked, by all replicas together.
CREATE TABLE registry_budgets (
    registry                 TEXT PRIMARY KEY,
    -- Requests since the minute began, and since ever.
    minute_at                TEXT NOT NULL,
    spent                    INTEGER NOT NULL CHECK (spent >= 0),
    requests                 INTEGER NOT NULL CHECK (requests >= 0),
    -- Its limit as it told it last.
    rate_limit               INTEGER,
    rate_remaining           INTEGER,
    window_seconds           INTEGER,
    told_at                  TEXT,
    -- Answers in a row that were none.
    failures                 INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    -- Until when which requests are not made: any; those that count against its limit; those that can
    -- wait; those that count and can wait.
    all_until                TEXT,
    counted_until            TEXT,
    background_until         TEXT,
    background_counted_until TEXT
) STRICT;

-- Repositories that are looked at.
CREATE TABLE watched_repositories (
    repository   TEXT PRIMARY KEY,
    -- Whether an enabled policy is about it.
    wanted       INTEGER NOT NULL,
    added_at     TEXT NOT NULL,
    next_look_at TEXT NOT NULL,
    -- When it was looked at to the end last; when its tags were listed first.
    looked_at    TEXT,
    listed_at    TEXT,
    tags         INTEGER,
    failures     INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
    error        TEXT
) STRICT;
CREATE INDEX watched_repositories_due ON watched_repositories (next_look_at) WHERE wanted;

-- Their tags as they were seen there, whatever policies say: what a policy takes later is not new.
CREATE TABLE watched_tags (
    repository TEXT NOT NULL REFERENCES watched_repositories (repository) ON DELETE CASCADE,
    tag        TEXT NOT NULL,
    -- What it named last; none where it was only listed.
    digest     TEXT,
    -- A digest that it named before and names again: believed when it is seen twice.
    doubtful   TEXT,
    first_seen TEXT NOT NULL,
    seen_at    TEXT NOT NULL,
    -- When the registry said that it is not there any more.
    gone_at    TEXT,
    PRIMARY KEY (repository, tag)
) STRICT;

-- What was found by looking.
CREATE TABLE watch_finds (
    image_version_id BLOB PRIMARY KEY REFERENCES image_versions (id) ON DELETE CASCADE,
    repository       TEXT NOT NULL,
    found_at         TEXT NOT NULL,
    -- The endpoint whose webhook should have told of it; none where none ever told of its registry.
    endpoint         TEXT,
    -- When a webhook told of it after all.
    told_at          TEXT,
    -- When a webhook counts as missed; then whether it was.
    settle_at        TEXT,
    missed           INTEGER
) STRICT;
CREATE INDEX watch_finds_open ON watch_finds (settle_at) WHERE settle_at IS NOT NULL;
CREATE INDEX watch_finds_repository ON watch_finds (repository, found_at);
-- The last webhook of a repository is asked for at each look.
CREATE INDEX image_versions_told ON image_versions (repository, seen_at) WHERE delivery_id IS NOT NULL;
