-- Devices that people add, what they say of them, their secrets, and who changed what.

-- 'ssh://user@host:port'; NULL: nothing is dialled (this machine, an agent's, a made-up one).
ALTER TABLE devices ADD COLUMN address TEXT;
ALTER TABLE devices ADD COLUMN group_name TEXT;
ALTER TABLE devices ADD COLUMN notes TEXT NOT NULL DEFAULT '';
-- Whether it is read; a device of which that is false stays in the inventory.
ALTER TABLE devices ADD COLUMN enabled BOOLEAN NOT NULL DEFAULT TRUE;
-- JSON objects: how it is read, and how the hub signs in there. No secret stands in either.
ALTER TABLE devices ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE devices ADD COLUMN ssh TEXT;
-- Counts the changes; names the state that somebody edits.
ALTER TABLE devices ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE devices ADD COLUMN changed_at BIGINT;
-- A deleted device is kept, with its history, until it is purged.
ALTER TABLE devices ADD COLUMN deleted_at BIGINT;

-- Sealed by XChaCha20-Poly1305; the key is in a file outside of the database.
CREATE TABLE secrets (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    -- A device's uuid, or 'hub'.
    owner   TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    -- Which of the keys in the file.
    key_id  TEXT   NOT NULL,
    nonce   BLOB   NOT NULL,
    sealed  BLOB   NOT NULL,
    set_at  BIGINT NOT NULL,
    UNIQUE (owner, kind)
);

-- Who changed what. Rows are only ever added.
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          BIGINT NOT NULL,
    actor_kind  TEXT   NOT NULL CHECK (actor_kind IN ('account', 'token', 'cli', 'hub')),
    actor       TEXT   NOT NULL,
    action      TEXT   NOT NULL,
    device_uuid TEXT,
    device_name TEXT,
    -- JSON objects of what changed, without secrets.
    before      TEXT,
    after       TEXT
);
CREATE INDEX audit_by_device ON audit (device_uuid, id);
