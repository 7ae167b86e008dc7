-- Numbers over time, states, events. Times are nanoseconds since 1970.

CREATE TABLE metric_series (
    instance smallint NOT NULL,
    id integer NOT NULL,
    service text NOT NULL,
    metric text NOT NULL,
    tags text NOT NULL,      -- an object of strings, as JSON
    PRIMARY KEY (instance, id)
);

-- Raw samples, packed: nothing to compress. Each block is written anew every minute while its hour lasts.
CREATE TABLE metric_block (
    hour bigint NOT NULL,
    series integer NOT NULL,
    instance smallint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (instance, hour, series)
) WITH (fillfactor = 50);
ALTER TABLE metric_block ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE metric_minute (
    at bigint NOT NULL,
    sum double precision NOT NULL,
    min double precision NOT NULL,
    max double precision NOT NULL,
    last double precision NOT NULL,
    count integer NOT NULL,
    series integer NOT NULL,
    instance smallint NOT NULL,
    PRIMARY KEY (instance, series, at)
);
CREATE TABLE metric_hour (LIKE metric_minute INCLUDING ALL);

CREATE TABLE status (
    instance smallint NOT NULL,
    service text NOT NULL,
    status text NOT NULL,
    pid integer,
    port integer,
    started_at bigint,
    checked_at bigint NOT NULL,
    health text,
    health_message text,
    cpu_percent double precision,
    memory_mb double precision,
    PRIMARY KEY (instance, service)
) WITH (fillfactor = 50);

CREATE TABLE event (
    id bigint NOT NULL,
    at bigint NOT NULL,
    instance smallint NOT NULL,
    service text NOT NULL,
    kind text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (instance, id)
);
CREATE INDEX event_at ON event (instance, at);
CREATE INDEX event_service ON event (instance, service, id);

CREATE FUNCTION helm_timestamp(at bigint) RETURNS timestamp LANGUAGE sql IMMUTABLE AS $$
    SELECT timestamp 'epoch' + (at / 1000) * interval '1 microsecond'
$$;

-- The seed's tables, for whoever looks with psql; what the Python Helm left is shown with them. An hour is shown where its minutes are gone.
-- Ids: instance, series, tier, minute: above all that the Python Helm gave.
DO $$
DECLARE
    metrics text := $view$
        SELECT ((((n.instance::bigint << 14) | n.series) << 27) | (n.at / 60000000000)) AS id,
               s.service::varchar AS service_name, helm_timestamp(n.at) AS "timestamp", s.metric::varchar AS metric_name,
               n.sum / n.count AS metric_value, helm_jsonb(nullif(s.tags, '{}')) AS tags
        FROM metric_minute n JOIN metric_series s ON s.instance = n.instance AND s.id = n.series
        UNION ALL
        SELECT ((((n.instance::bigint << 14) | n.series) << 27) | (1 << 26) | (n.at / 60000000000)),
               s.service::varchar, helm_timestamp(n.at), s.metric::varchar, n.sum / n.count, helm_jsonb(nullif(s.tags, '{}'))
        FROM metric_hour n JOIN metric_series s ON s.instance = n.instance AND s.id = n.series
        WHERE NOT EXISTS (SELECT 1 FROM metric_minute m WHERE m.instance = n.instance AND m.series = n.series
                          AND m.at >= n.at AND m.at < n.at + 3600000000000) $view$;
    states text := $view$
        SELECT service::varchar AS service_name, status::varchar AS status, pid, port, helm_timestamp(started_at) AS started_at,
               helm_timestamp(checked_at) AS last_checked, health::varchar AS health_status, health_message, cpu_percent, memory_mb
        FROM status $view$;
BEGIN
    IF (SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('service_metrics_python')
        AND attname IN ('id', 'service_name', 'timestamp', 'metric_name', 'metric_value', 'tags')) = 6 THEN
        metrics := metrics || 'UNION ALL SELECT id, service_name::varchar, "timestamp"::timestamp, metric_name::varchar, metric_value, tags::jsonb
            FROM service_metrics_python';
    END IF;
    IF (SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('service_status_python')
        AND attname IN ('service_name', 'status', 'pid', 'port', 'started_at', 'last_checked', 'health_status', 'health_message',
                        'cpu_percent', 'memory_mb')) = 10 THEN
        states := states || 'UNION ALL SELECT p.service_name::varchar, p.status::varchar, p.pid, p.port, p.started_at::timestamp,
                p.last_checked::timestamp, p.health_status::varchar, p.health_message, p.cpu_percent, p.memory_mb
            FROM service_status_python p
            WHERE NOT EXISTS (SELECT 1 FROM status s WHERE s.service = p.service_name AND helm_timestamp(s.checked_at) >= p.last_checked)';
    END IF;
    EXECUTE 'CREATE VIEW service_metrics AS ' || metrics;
    EXECUTE 'CREATE VIEW service_status AS SELECT (row_number() OVER (ORDER BY service_name, last_checked))::integer AS id, x.* FROM (' || states || ') x';
END
$$;
