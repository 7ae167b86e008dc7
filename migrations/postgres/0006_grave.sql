-- Warnings and what is graver, newest first, however rare: one entry in thirty at most, so that appends hardly pay for it.
CREATE INDEX entry_grave ON entry (level, at, id, service) WHERE level >= 13;
