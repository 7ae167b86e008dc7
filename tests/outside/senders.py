"""Other people's senders: senders.py URL DIR. Each sends a few lines and says what must be there then; see senders.sh."""

import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import elasticsearch
import elasticsearch.helpers
import logging_loki
import requests
from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter as JsonExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as ProtobufExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

URL, DIR = sys.argv[1:]
TOKEN = {"Authorization": f"Bearer {os.environ['HELM_INGEST_TOKEN']}"}
LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def said(service, number):
    return f"{service} says {number} – «ünïcode» and a\nsecond line"


def log_all(logger, service, extra):
    """One line of each level, as a program logs them."""
    for number, level in enumerate(LEVELS):
        logger.log(getattr(logging, level), said(service, number), extra=extra)
    return [{"message": said(service, number), "level": level} for number, level in enumerate(LEVELS)]


def logger_of(service, handler):
    logger = logging.getLogger(service)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


def opentelemetry(service, exporter):
    resource = Resource.create({"service.name": service, "host.name": "otel-host", "deployment.environment": "test"})
    provider = LoggerProvider(resource=resource)
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    logger = logger_of(service, LoggingHandler(logger_provider=provider))
    with TracerProvider().get_tracer("t").start_as_current_span("work") as span:
        expected = log_all(logger, service, {"order": 7, "http.status": 500})
        trace = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()
    context = {"order": 7, "http.status": 500, "resource.deployment.environment": "test"}
    return [{**line, "trace_id": trace, "hostname": "otel-host", "context": context} for line in expected]


def otlp_protobuf(service):
    return opentelemetry(service, ProtobufExporter(f"{URL}/v1/logs", headers=TOKEN))


def otlp_gzip(service):
    return opentelemetry(service, ProtobufExporter(f"{URL}/v1/logs", headers=TOKEN, compression=Compression.Gzip))


def otlp_json(service):
    return opentelemetry(service, JsonExporter(endpoint=f"{URL}/v1/logs", headers=TOKEN))


def otlp_direct(service):
    """Without a token, by a program of Helm's own user."""
    lines = opentelemetry(service, ProtobufExporter(f"{URL}/v1/logs"))
    return [{**line, "context": {**line["context"], "auth": "none", "uid": os.getuid()}} for line in lines]


def loki(service):
    handler = logging_loki.LokiHandler(url=f"{URL}/loki/api/v1/push", tags={"service": service, "host": "loki-host", "zone": "a"}, version="1")
    lines = log_all(logger_of(service, handler), service, {"tags": {"shard": "3"}})
    return [{**line, "hostname": "loki-host", "context": {"labels.zone": "a", "labels.shard": "3"}} for line in lines]


def elastic(service):
    client = elasticsearch.Elasticsearch(f"{URL}/es", bearer_auth=os.environ["HELM_INGEST_TOKEN"])
    documents = [
        {"_op_type": "create", "_index": f"{service}-2026.12.01", "@timestamp": "2026-12-01T08:00:00.5Z", "message": said(service, number),
         "log.level": level.lower(), "host": {"name": "elastic-host"}, "labels": {"zone": "a"}}
        for number, level in enumerate(LEVELS)
    ]
    done, errors = elasticsearch.helpers.bulk(client, documents)
    assert (done, errors) == (len(LEVELS), []), (done, errors)
    return [{"message": said(service, number), "level": level, "hostname": "elastic-host", "timestamp": "2026-12-01T08:00:00.500000",
             "context": {"labels.zone": "a"}} for number, level in enumerate(LEVELS)]


def rsyslog(service):
    """rsyslogd with Debian's omelasticsearch: the same protocol, by a program in C."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    template = ('{\\"@timestamp\\":\\"%timereported:::date-rfc3339%\\",\\"message\\":\\"%msg:::json%\\",\\"log.level\\":\\"%syslogseverity-text%\\",'
                '\\"host.name\\":\\"%hostname%\\",\\"service.name\\":\\"%programname%\\"}')
    conf = Path(DIR, "rsyslog.conf")
    conf.write_text(f"""
global(workDirectory="{DIR}")
module(load="imtcp")
module(load="omelasticsearch")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="ecs" type="string" string="{template}")
action(type="omelasticsearch" server="{URL}/es" searchIndex="{service}" searchType="" template="ecs" bulkmode="on" errorFile="{DIR}/rsyslog.errors")
""", encoding="utf-8")
    daemon = subprocess.Popen(["rsyslogd", "-n", "-f", conf, "-i", f"{DIR}/rsyslog.pid"])
    try:
        stream = eventually("rsyslogd listens", lambda: socket.create_connection(("127.0.0.1", port)))
        with stream:
            for number in range(len(LEVELS)):
                # Facility user; debug 7, info 6, warning 4, err 3, crit 2.
                severity = [7, 6, 4, 3, 2][number]
                stream.sendall(f"<{8 + severity}>1 2026-12-01T08:00:00.5Z rsyslog-host {service} 77 - - {service} says {number}\n".encode())
        eventually("rsyslogd has sent", lambda: len(entries(service)) >= len(LEVELS))
    finally:
        daemon.terminate()
        daemon.wait()
    return [{"message": f"{service} says {number}", "level": level, "hostname": "rsyslog-host", "timestamp": "2026-12-01T08:00:00.500000"}
            for number, level in enumerate(LEVELS)]


def in_python(service):
    """The seed's third option, as it stands there."""
    def send_log(level, message, **kwargs):
        requests.post(f"{URL}/api/logs/ingest", json={
            "service_name": service,
            "logs": [{
                "level": level,
                "message": message,
                **kwargs
            }]
        }, timeout=10)

    for number, level in enumerate(LEVELS):
        send_log(level, said(service, number), trace_id="t-1", context={"order": 7})
    return [{"message": said(service, number), "level": level, "trace_id": "t-1", "context": {"order": 7, "auth": "none"}}
            for number, level in enumerate(LEVELS)]


def ndjson(service):
    lines = [json.dumps({"service": service, "level": level, "msg": said(service, number), "hostname": "nd-host", "order": 7})
             for number, level in enumerate(LEVELS)]
    answer = requests.post(f"{URL}/api/v1/logs/lines", data="\n".join(lines).encode(), timeout=10,
                           headers={**TOKEN, "Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text
    return [{"message": said(service, number), "level": level, "hostname": "nd-host", "context": {"order": 7}} for number, level in enumerate(LEVELS)]


def eventually(what, holds):
    end = time.monotonic() + 30
    while True:
        try:
            if found := holds():
                return found
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.1)


def entries(service):
    reader = {"Authorization": f"Bearer {os.environ['HELM_READ_TOKEN']}"}
    query = {"service": service, "limit": 1000, "twins": "true"}
    return requests.get(f"{URL}/api/logs", params=query, headers=reader, timeout=10).json()["logs"]


def field(context, path):
    """A field of a context: `labels.zone` is one of its own, or one of an object."""
    if path in context:
        return context[path]
    first, _, rest = path.partition(".")
    return field(context[first], rest) if rest and isinstance(context.get(first), dict) else None


def faults(service, expected):
    found = {entry["message"].rstrip("\n"): entry for entry in entries(service)}
    if (kept := len(entries(service))) != len(expected):
        yield f"{kept} entries, and not {len(expected)}"
    for line in expected:
        entry = found.get(line["message"])
        if entry is None:
            yield f"there is no {line['message']!r}, but {list(found)[:2]}"
            continue
        for key, value in line.items():
            if key == "context":
                wrong = {path: field(entry["context"], path) for path, one in value.items() if field(entry["context"], path) != one}
                if wrong:
                    yield f"{line['message']!r}: {wrong}, and not {value}: {entry['context']}"
            elif entry[key] != value:
                yield f"{line['message']!r}: {key} is {entry[key]!r}, and not {value!r}"


bad = 0
for send in [in_python, ndjson, otlp_protobuf, otlp_gzip, otlp_json, otlp_direct, loki, elastic, rsyslog]:
    name = send.__name__.replace("_", "-")
    wrong = list(faults(name, send(name)))
    print(f"{name}: {'each line once, whole' if not wrong else 'FAILED'}", flush=True)
    for fault in wrong:
        print(f"    {fault}")
    bad += bool(wrong)
print(f"test result: {'FAILED' if bad else 'ok'}. {9 - bad} passed; {bad} failed")
sys.exit(bool(bad))
