-- Warnings and what is graver, newest first, however rare: one entry in thirty at most, so that appends hardly pay for it.
-- Here for the partitions to come: those that are there get theirs one by one, each in a transaction of its own, so that nobody's commits wait for all.
CREATE INDEX entry_grave ON ONLY entry (level, at, id, service) WHERE level >= 13;
