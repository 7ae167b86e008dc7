-- One partition of the log: its entries, and everything that must change together with them.
-- Times are nanoseconds since 1970 (UTC).

CREATE TABLE partition (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    instance INTEGER NOT NULL,
    number INTEGER NOT NULL,
    class TEXT NOT NULL,
    opened INTEGER NOT NULL,
    before BLOB NOT NULL,             -- the chain before the first entry
    former INTEGER,                   -- the partition that was sealed when this one was opened ...
    former_closed INTEGER,            -- ... and when: enough to seal it again after a crash in between
    closed INTEGER,                   -- set when it is sealed
    sealed_head BLOB,                 -- the chain after the last entry
    contents TEXT                     -- what it holds, as JSON: set when it is sealed
) STRICT;

-- Where the class stands. In a sealed partition: where it stood at its end.
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    number INTEGER NOT NULL,          -- of the last transaction
    head BLOB NOT NULL,
    arrived INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    low INTEGER,                      -- range of the entries' own times
    high INTEGER
) STRICT;

CREATE TABLE service (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE entry (
    row INTEGER PRIMARY KEY,          -- low 20 bits of the id
    at INTEGER NOT NULL,
    service INTEGER NOT NULL,
    level INTEGER NOT NULL,           -- 5 DEBUG, 9 INFO, 13 WARNING, 17 ERROR, 21 CRITICAL
    flags INTEGER NOT NULL,
    source INTEGER NOT NULL,          -- 0 captured, 1 sent, 2 helm, 3 former
    stream INTEGER NOT NULL,
    plain TEXT,                       -- what is searched, where it differs from message
    message TEXT NOT NULL,
    context TEXT,
    trace TEXT,
    user TEXT,
    hostname TEXT,
    process INTEGER,
    seen INTEGER NOT NULL,
    digest INTEGER NOT NULL           -- first eight bytes of the chain after this entry
) STRICT;

-- Two that every insert pays for, and one for the few that matter most. Pages of services, and of grave levels, are merged from ranges.
CREATE INDEX entry_service ON entry (service, at);
CREATE INDEX entry_at ON entry (at);
CREATE INDEX entry_grave ON entry (service, level, at) WHERE level >= 13;

CREATE TABLE count (
    minute INTEGER NOT NULL,          -- since 1970, of the entries' own time
    service INTEGER NOT NULL,
    level INTEGER NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (minute, service, level)
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor (
    service TEXT PRIMARY KEY,
    segment INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sender (
    name TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    kept INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE key (
    key TEXT PRIMARY KEY,
    kept INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX key_kept ON key (kept);

-- What is written stays. REPLACE deletes without asking the DELETE trigger, hence the one on INSERT; it says FAIL, for ABORT would
-- make SQLite keep a journal for each statement.
CREATE TRIGGER entry_no_update BEFORE UPDATE ON entry
BEGIN SELECT RAISE(ABORT, 'log entries are not changed'); END;
CREATE TRIGGER entry_no_delete BEFORE DELETE ON entry
BEGIN SELECT RAISE(ABORT, 'log entries are not deleted: retention takes away whole partitions'); END;
CREATE TRIGGER entry_no_replace BEFORE INSERT ON entry WHEN EXISTS (SELECT 1 FROM entry WHERE row = NEW.row)
BEGIN SELECT RAISE(FAIL, 'log entries are not replaced'); END;
CREATE TRIGGER service_no_update BEFORE UPDATE ON service
BEGIN SELECT RAISE(ABORT, 'names in the log are not changed'); END;
CREATE TRIGGER service_no_delete BEFORE DELETE ON service
BEGIN SELECT RAISE(ABORT, 'names in the log are not deleted'); END;

-- The seed's columns, for whoever looks with sqlite3.
CREATE VIEW log_entries AS
SELECT (((p.instance << 24) | p.number) << 20) | e.row AS id,
       strftime('%Y-%m-%dT%H:%M:%S', (e.at - ((e.at % 1000000000 + 1000000000) % 1000000000)) / 1000000000, 'unixepoch')
           || printf('.%06d', ((e.at % 1000000000 + 1000000000) % 1000000000) / 1000) AS timestamp,
       s.name AS service_name,
       CASE e.level WHEN 5 THEN 'DEBUG' WHEN 9 THEN 'INFO' WHEN 13 THEN 'WARNING' WHEN 17 THEN 'ERROR'
           WHEN 21 THEN 'CRITICAL' END AS level,
       e.message,
       e.context,
       e.trace AS trace_id,
       e.user AS user_id,
       e.hostname,
       e.process AS process_id
FROM entry e JOIN service s ON s.id = e.service CROSS JOIN partition p;
