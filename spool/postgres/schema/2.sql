-- The claim that was taken away from a relay at a takeover, as long as nobody has
-- claimed the share since: what that relay then tells of it still counts.
ALTER TABLE share ADD COLUMN was bigint;
