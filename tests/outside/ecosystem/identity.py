"""A stand-in for Keycloak: the three addresses of its realm that Nexus and Core ask when somebody signs in. Whoever is named in
`Identity.user` is who signs in next."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

REALM = "/realms/hivematrix"
OIDC = REALM + "/protocol/openid-connect"
GROUPS = {"admin": ["/admins"], "technician": ["/technicians"], "billing": ["/billing"], "client": []}


class Identity:
    def __init__(self, port=8080):
        self.user = "admin"
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=None, **headers):
                data = json.dumps(body or {}).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                url = urlsplit(self.path)
                asked = {key: values[0] for key, values in parse_qs(url.query).items()}
                if url.path == OIDC + "/auth":
                    back = urlencode({"code": outer.user, "state": asked["state"]})
                    self.answer(302, Location=f"{asked['redirect_uri']}?{back}")
                elif url.path == OIDC + "/userinfo":
                    user = self.headers.get("Authorization", "").removeprefix("Bearer access-of-")
                    if user not in GROUPS:
                        return self.answer(401, {"error": "invalid_token"})
                    self.answer(200, {
                        "sub": f"id-of-{user}", "preferred_username": user, "name": user.title(),
                        "email": f"{user}@example.org", "groups": GROUPS[user],
                    })
                else:
                    self.answer(200 if url.path in ("/health", REALM) else 404, {"status": "UP", "realm": "hivematrix"})

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                code = parse_qs(body).get("code", [""])[0]
                if urlsplit(self.path).path == OIDC + "/token" and code in GROUPS:
                    self.answer(200, {"access_token": f"access-of-{code}", "token_type": "Bearer"})
                else:
                    self.answer(400, {"error": "invalid_grant"})

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
