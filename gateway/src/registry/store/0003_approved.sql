-- Whether a device was ever approved, or did not need to be: who was not must be, whatever became of it meanwhile.
ALTER TABLE device ADD COLUMN approved BIGINT NOT NULL DEFAULT 1;
-- In no list any more; its name and its keys stay taken.
ALTER TABLE device ADD COLUMN removed BIGINT NOT NULL DEFAULT 0;
UPDATE device SET approved = 0 WHERE standing = 'pending';
