-- Tokens that enroll: for a short time they open nothing but a key of its own for each host that
-- shows one.

-- How many hosts a token enrolls; NULL: it is a token that signs in itself.
ALTER TABLE tokens ADD COLUMN enrolls BIGINT;
ALTER TABLE tokens ADD COLUMN enrolled BIGINT NOT NULL DEFAULT 0;
-- What is put on a host that is new.
ALTER TABLE tokens ADD COLUMN enroll_tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tokens ADD COLUMN enroll_group TEXT;
-- An agent's own key: of which device, and by which token it came.
ALTER TABLE tokens ADD COLUMN device_uuid TEXT;
ALTER TABLE tokens ADD COLUMN enrolled_by BIGINT;
CREATE INDEX tokens_by_device ON tokens (device_uuid) WHERE device_uuid IS NOT NULL;
CREATE INDEX tokens_by_enrollment ON tokens (enrolled_by) WHERE enrolled_by IS NOT NULL;
-- A device has one key that holds.
CREATE UNIQUE INDEX keys_by_device ON tokens (device_uuid)
    WHERE device_uuid IS NOT NULL AND revoked_at IS NULL;
