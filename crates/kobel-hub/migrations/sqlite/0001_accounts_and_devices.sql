-- Times are milliseconds since 1970-01-01T00:00:00Z. Numbers are never used twice: an id may
-- stand in a cookie, in a token or in a viewer's memory after its row is gone.

CREATE TABLE accounts (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE,
    role          TEXT    NOT NULL CHECK (role IN ('admin', 'viewer')),
    -- argon2id, as a PHC string; NULL: signs in by link only.
    password_hash TEXT,
    -- A JSON array of device uuids; NULL: every device.
    devices       TEXT,
    created_at    BIGINT  NOT NULL
);

-- Sessions of the page. The secret is in the cookie only; here is its SHA-256.
CREATE TABLE sessions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  BIGINT  NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    secret_hash BLOB    NOT NULL,
    created_at  BIGINT  NOT NULL,
    expires_at  BIGINT  NOT NULL
);
CREATE INDEX sessions_by_account ON sessions (account_id);

-- API tokens. Revoked ones stay, so that `kobel token list` can tell.
CREATE TABLE tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   BIGINT  NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    secret_hash  BLOB    NOT NULL,
    role         TEXT    NOT NULL CHECK (role IN ('admin', 'viewer')),
    devices      TEXT,
    created_at   BIGINT  NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);
CREATE INDEX tokens_by_account ON tokens (account_id);
-- Of the tokens that are not revoked, a name belongs to one.
CREATE UNIQUE INDEX tokens_by_name ON tokens (name) WHERE revoked_at IS NULL;

-- Links that sign in once. A used one is deleted.
CREATE TABLE sign_in_links (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  BIGINT  NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    secret_hash BLOB    NOT NULL,
    expires_at  BIGINT  NOT NULL
);
CREATE INDEX sign_in_links_by_account ON sign_in_links (account_id);

CREATE TABLE devices (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid       TEXT    NOT NULL UNIQUE,
    name       TEXT    NOT NULL,
    -- A JSON array of texts.
    tags       TEXT    NOT NULL DEFAULT '[]',
    source     TEXT    NOT NULL,
    -- What the source knows the host by; for the local one, its machine-id(5) or ''.
    source_key TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    UNIQUE (source, source_key)
);
