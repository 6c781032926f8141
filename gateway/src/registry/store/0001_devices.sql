-- Plain SQL that SQLite and PostgreSQL both take. Times are milliseconds since 1970 UTC, keys and hashes are texts.

-- `revision` counts all changes, `identity` tells this database from every other.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO meta (name, value) VALUES ('revision', 0);

CREATE TABLE device (
    name TEXT NOT NULL PRIMARY KEY,
    origin TEXT NOT NULL CHECK (origin IN ('file', 'enrolled', 'imported')),
    standing TEXT NOT NULL CHECK (standing IN ('pending', 'active', 'quarantined', 'revoked', 'expired')),
    why TEXT NOT NULL,
    since BIGINT NOT NULL,
    roles TEXT NOT NULL,
    serial TEXT,
    patients TEXT NOT NULL,
    hl7_sender TEXT,
    ae_title TEXT,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires BIGINT
);
-- A lost device may be replaced by one that took over its serial number.
CREATE UNIQUE INDEX device_serial ON device (serial) WHERE standing <> 'revoked';

-- The key of a revoked device stays here, so that nobody has it ever again.
CREATE TABLE device_key (
    kind TEXT NOT NULL CHECK (kind IN ('wireguard', 'certificate')),
    value TEXT NOT NULL,
    device TEXT NOT NULL REFERENCES device (name),
    added BIGINT NOT NULL,
    until BIGINT,
    PRIMARY KEY (kind, value)
);
CREATE INDEX device_key_device ON device_key (device);

CREATE TABLE device_address (
    address TEXT NOT NULL PRIMARY KEY,
    device TEXT NOT NULL REFERENCES device (name)
);
CREATE INDEX device_address_device ON device_address (device);

-- `mark` is drawn by who made the change, so that it is written once however often it is sent.
CREATE TABLE device_event (
    revision BIGINT NOT NULL PRIMARY KEY,
    mark BIGINT NOT NULL UNIQUE,
    device TEXT NOT NULL REFERENCES device (name),
    at BIGINT NOT NULL,
    uid BIGINT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    why TEXT NOT NULL
);
CREATE INDEX device_event_device ON device_event (device, revision);

CREATE TABLE certificate (
    serial TEXT NOT NULL PRIMARY KEY,
    device TEXT NOT NULL REFERENCES device (name),
    spki TEXT NOT NULL,
    kind TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    revoked BIGINT,
    reason TEXT
);
CREATE INDEX certificate_device ON certificate (device);

-- `hash` is of at least 128 random bits; the token itself is nowhere.
CREATE TABLE token (
    hash TEXT NOT NULL PRIMARY KEY,
    role TEXT NOT NULL,
    serial TEXT,
    patients TEXT NOT NULL,
    approve BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires BIGINT NOT NULL,
    uses_left BIGINT NOT NULL CHECK (uses_left >= 0),
    used_by TEXT,
    revoked BIGINT
);

-- What was seen of a device: `handshake`, `address`, `bytes`, `service`, `message`, `sop-class`, `software`.
CREATE TABLE seen (
    device TEXT NOT NULL,
    what TEXT NOT NULL,
    value TEXT NOT NULL,
    amount BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (device, what, value)
);

-- What came from nobody that is known: `key`, `certificate`, `source`.
CREATE TABLE unknown (
    what TEXT NOT NULL,
    source TEXT NOT NULL,
    value TEXT NOT NULL,
    amount BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (what, source, value)
);
