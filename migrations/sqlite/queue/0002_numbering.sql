-- Whether the positions of this file are known to be above the one that the database remembers. Those of a new file begin with the time; where
-- the clock was ahead when the file before was made, they are raised before anything is brought over.
CREATE TABLE numbering (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    joined INTEGER NOT NULL
) STRICT;
-- A file that was used before this step has brought something over, or will in its old order.
INSERT INTO numbering SELECT 1, seq % 1000000 <> 0 OR EXISTS (SELECT 1 FROM waiting) FROM sqlite_sequence WHERE name = 'waiting';

-- What cannot be read, put aside so that the rest goes on.
CREATE TABLE bad (
    n INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    class TEXT NOT NULL,
    entries BLOB NOT NULL,
    once TEXT,
    weight INTEGER NOT NULL,
    why TEXT NOT NULL
) STRICT;
