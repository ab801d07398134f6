-- Tokens of the role agent. SQLite changes a CHECK only by building the table anew; numbers are kept,
-- also the one that comes next.

CREATE TABLE new_tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id   BIGINT  NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    secret_hash  BLOB    NOT NULL,
    role         TEXT    NOT NULL CHECK (role IN ('admin', 'viewer', 'agent')),
    devices      TEXT,
    created_at   BIGINT  NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);
INSERT INTO new_tokens SELECT id, account_id, name, secret_hash, role, devices, created_at,
    expires_at, revoked_at, last_used_at FROM tokens;
DELETE FROM sqlite_sequence WHERE name = 'new_tokens';
INSERT INTO sqlite_sequence (name, seq) SELECT 'new_tokens', seq FROM sqlite_sequence
    WHERE name = 'tokens';
DROP TABLE tokens;
ALTER TABLE new_tokens RENAME TO tokens;
CREATE INDEX tokens_by_account ON tokens (account_id);
-- Of the tokens that are not revoked, a name belongs to one.
CREATE UNIQUE INDEX tokens_by_name ON tokens (name) WHERE revoked_at IS NULL;
