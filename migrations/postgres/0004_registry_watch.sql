-- Looking for pushes that no webhook told of, and how often registries may be asked.

-- How often each registry may be asked, by all replicas together.
CREATE TABLE registry_budgets (
    registry                 TEXT PRIMARY KEY,
    -- Requests since the minute began, and since ever.
    minute_at                TIMESTAMPTZ NOT NULL,
    spent                    BIGINT NOT NULL CHECK (spent >= 0),
    requests                 BIGINT NOT NULL CHECK (requests >= 0),
    -- Its limit as it told it last.
    rate_limit               BIGINT,
    rate_remaining           BIGINT,
    window_seconds           BIGINT,
    told_at                  TIMESTAMPTZ,
    -- Answers in a row that were none.
    failures                 BIGINT NOT NULL DEFAULT 0 CHECK (failures >= 0),
    -- Until when which requests are not made: any; those that count against its limit; those that can
    -- wait; those that count and can wait.
    all_until                TIMESTAMPTZ,
    counted_until            TIMESTAMPTZ,
    background_until         TIMESTAMPTZ,
    background_counted_until TIMESTAMPTZ
);

-- Repositories that are looked at.
CREATE TABLE watched_repositories (
    repository   TEXT PRIMARY KEY,
    -- Whether an enabled policy is about it.
    wanted       BOOLEAN NOT NULL,
    added_at     TIMESTAMPTZ NOT NULL,
    next_look_at TIMESTAMPTZ NOT NULL,
    -- When it was looked at to the end last; when its tags were listed first.
    looked_at    TIMESTAMPTZ,
    listed_at    TIMESTAMPTZ,
    tags         BIGINT,
    failures     BIGINT NOT NULL DEFAULT 0 CHECK (failures >= 0),
    error        TEXT
);
CREATE INDEX watched_repositories_due ON watched_repositories (next_look_at) WHERE wanted;

-- Their tags as they were seen there, whatever policies say: what a policy takes later is not new.
CREATE TABLE watched_tags (
    repository TEXT NOT NULL REFERENCES watched_repositories (repository) ON DELETE CASCADE,
    tag        TEXT NOT NULL,
    -- What it named last; none where it was only listed.
    digest     TEXT,
    -- A digest that it named before and names again: believed when it is seen twice.
    doubtful   TEXT,
    first_seen TIMESTAMPTZ NOT NULL,
    seen_at    TIMESTAMPTZ NOT NULL,
    -- When the registry said that it is not there any more.
    gone_at    TIMESTAMPTZ,
    PRIMARY KEY (repository, tag)
);

-- What was found by looking.
CREATE TABLE watch_finds (
    image_version_id UUID PRIMARY KEY REFERENCES image_versions (id) ON DELETE CASCADE,
    repository       TEXT NOT NULL,
    found_at         TIMESTAMPTZ NOT NULL,
    -- The endpoint whose webhook should have told of it; none where none ever told of its registry.
    endpoint         TEXT,
    -- When a webhook told of it after all.
    told_at          TIMESTAMPTZ,
    -- When a webhook counts as missed; then whether it was.
    settle_at        TIMESTAMPTZ,
    missed           BOOLEAN
);
CREATE INDEX watch_finds_open ON watch_finds (settle_at) WHERE settle_at IS NOT NULL;
CREATE INDEX watch_finds_repository ON watch_finds (repository, found_at);
-- The last webhook of a repository is asked for at each look.
CREATE INDEX image_versions_told ON image_versions (repository, seen_at) WHERE delivery_id IS NOT NULL;
