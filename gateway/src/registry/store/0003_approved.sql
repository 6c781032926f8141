-- Whether a device was ever approved, or did not need to be: who was not must be, whatever became of it meanwhile.
ALTER TABLE device ADD COLUMN approved BIGINT NOT NULL DEFAULT 1;
UPDATE device SET approved = 0 WHERE standing = 'pending';
