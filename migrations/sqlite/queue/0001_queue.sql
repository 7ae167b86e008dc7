-- Appends that were acknowledged and wait for the database.

CREATE TABLE waiting (
    n INTEGER PRIMARY KEY AUTOINCREMENT,   -- the position; the database's class_state remembers the last one it has
    at INTEGER NOT NULL,                   -- nanoseconds since 1970
    class TEXT NOT NULL,
    entries BLOB NOT NULL,                 -- JSON
    once TEXT,                             -- JSON
    weight INTEGER NOT NULL                -- bytes, for the bound
) STRICT;

-- Positions begin with the time in microseconds: in a new file (the old one was lost, or moved aside) they go on above those that a database remembers.
INSERT INTO sqlite_sequence (name, seq) VALUES ('waiting', CAST(strftime('%s', 'now') AS INTEGER) * 1000000);
