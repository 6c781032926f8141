-- What a token lets its bearer become beside roles and patients, and who used it.
ALTER TABLE token ADD COLUMN device TEXT;
ALTER TABLE token ADD COLUMN hl7_sender TEXT;
ALTER TABLE token ADD COLUMN ae_title TEXT;
ALTER TABLE token ADD COLUMN why TEXT NOT NULL DEFAULT '';
ALTER TABLE token ADD COLUMN used_key TEXT;
ALTER TABLE token ADD COLUMN used_at BIGINT;
CREATE INDEX token_expires ON token (expires);
