-- Numbers over time, states, events. Times are nanoseconds since 1970 (UTC).

CREATE TABLE metric_series (
    id INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    metric TEXT NOT NULL,
    tags TEXT NOT NULL                -- an object of strings, as JSON
) STRICT, WITHOUT ROWID;

-- Raw samples, packed. By hour first: the blocks that are written anew every minute lie on few pages.
CREATE TABLE metric_block (
    hour INTEGER NOT NULL,            -- beginning of the hour
    series INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (hour, series)
) STRICT, WITHOUT ROWID;

-- By series first: a year of one of them lies together.
CREATE TABLE metric_minute (
    series INTEGER NOT NULL,
    at INTEGER NOT NULL,              -- beginning of the minute
    count INTEGER NOT NULL,
    sum REAL NOT NULL,
    min REAL NOT NULL,
    max REAL NOT NULL,
    last REAL NOT NULL,
    PRIMARY KEY (series, at)
) STRICT, WITHOUT ROWID;
CREATE TABLE metric_hour (
    series INTEGER NOT NULL,
    at INTEGER NOT NULL,              -- beginning of the hour
    count INTEGER NOT NULL,
    sum REAL NOT NULL,
    min REAL NOT NULL,
    max REAL NOT NULL,
    last REAL NOT NULL,
    PRIMARY KEY (series, at)
) STRICT, WITHOUT ROWID;

-- The latest state of each service.
CREATE TABLE status (
    service TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    pid INTEGER,
    port INTEGER,
    started_at INTEGER,
    checked_at INTEGER NOT NULL,
    health TEXT,
    health_message TEXT,
    cpu_percent REAL,
    memory_mb REAL
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    service TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX event_at ON event (at);
CREATE INDEX event_service ON event (service);

-- The seed's tables, for whoever looks with sqlite3. An hour is shown where its minutes are gone. Ids: instance, series, tier, minute.
CREATE VIEW service_metrics AS
SELECT (((i.number << 14 | n.series) << 1 | n.tier) << 26) | (n.at / 60000000000) AS id,
       s.service AS service_name,
       strftime('%Y-%m-%dT%H:%M:%S', n.at / 1000000000, 'unixepoch') AS timestamp,
       s.metric AS metric_name,
       n.sum / n.count AS metric_value,
       nullif(s.tags, '{}') AS tags
FROM (SELECT series, at, sum, count, 0 AS tier FROM metric_minute
      UNION ALL
      SELECT series, at, sum, count, 1 FROM metric_hour h
      WHERE NOT EXISTS (SELECT 1 FROM metric_minute m WHERE m.series = h.series AND m.at >= h.at AND m.at < h.at + 3600000000000)) n
     JOIN metric_series s ON s.id = n.series CROSS JOIN instance i;

CREATE VIEW service_status AS
SELECT row_number() OVER (ORDER BY service) AS id,
       service AS service_name,
       status,
       pid,
       port,
       strftime('%Y-%m-%dT%H:%M:%S', started_at / 1000000000, 'unixepoch') || printf('.%06d', started_at % 1000000000 / 1000)
           AS started_at,
       strftime('%Y-%m-%dT%H:%M:%S', checked_at / 1000000000, 'unixepoch') || printf('.%06d', checked_at % 1000000000 / 1000)
           AS last_checked,
       health AS health_status,
       health_message,
       cpu_percent,
       memory_mb
FROM status;
