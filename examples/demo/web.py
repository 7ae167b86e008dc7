"""A small HTTP service of the demo: `/health` in HiveMatrix's shape, everything else says who answers.

--warm-up S   seconds of loading before it listens (so that its dependents have somebody to wait for)
--asks URL    a service whose health decides ours: degraded while it does not answer
"""
import argparse
import json
import time
import urllib.request
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("name")
parser.add_argument("port", type=int)
parser.add_argument("--warm-up", type=float, default=0)
parser.add_argument("--asks")
options = parser.parse_args()


def dependency():
    """None if all is well, else what is wrong."""
    if not options.asks:
        return None
    try:
        with urllib.request.urlopen(options.asks, timeout=2):
            return None
    except OSError as error:
        return str(error)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/health":
            trouble = dependency()
            status = "degraded" if trouble else "healthy"
            answer = {"service": options.name, "status": status, "timestamp": datetime.now(timezone.utc).isoformat()}
            if trouble:
                answer["checks"] = {"dependencies": {options.asks: {"status": "unhealthy", "error": trouble}}}
            self.reply(503 if trouble else 200, answer)
        else:
            self.reply(200, {"service": options.name, "path": self.path})

    def reply(self, code, answer):
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


print(f"{options.name}: loading", flush=True)
time.sleep(options.warm_up)
server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
print(f"{options.name}: listening on 127.0.0.1:{options.port}", flush=True)
server.serve_forever()
