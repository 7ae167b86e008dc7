"""Helm, the real Core and the real Nexus, asked as people and services ask them: checks.py HOME. Run by ../ecosystem.sh."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import jwt
import requests
import urllib3

from identity import Identity

urllib3.disable_warnings()
HOME = Path(sys.argv[1])
CORE_DIR, NEXUS_DIR = HOME.parent / "hivematrix-core", HOME.parent / "hivematrix-nexus"
HELM, CORE, NEXUS = "http://localhost:5004", "http://127.0.0.1:5000", "https://localhost"
STREAM = int(os.environ.get("ECOSYSTEM_STREAM", "25"))
OURS = {"Origin": NEXUS, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}

passed, failed = 0, []


def section(name):
    print(f"--- {name}", flush=True)


def check(what, good, shown=""):
    global passed
    print(f"{'ok    ' if good else 'FAILED'} {what}{': ' if shown != '' else ''}{str(shown)[:200]}", flush=True)
    if good:
        passed += 1
    else:
        failed.append(what)


def answered(what, answer, status, words=""):
    body = " ".join(answer.text.split())
    check(what, answer.status_code == status and words in body, f"{answer.status_code} {body[:150]}")
    return answer


def eventually(what, holds, within=30):
    """Waits until it holds; what it found is returned."""
    end = time.monotonic() + within
    while True:
        try:
            found = holds()
        except (requests.RequestException, subprocess.CalledProcessError, json.JSONDecodeError):
            found = None
        if found or time.monotonic() > end:
            check(what, bool(found))
            return found
        time.sleep(0.1)


def ctl(*words, good=True):
    done = subprocess.run(["helmctl", "--home", HOME, *words], capture_output=True, text=True, timeout=120)
    if good and done.returncode != 0:
        sys.exit(f"helmctl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def status(name):
    return json.loads(ctl("status", name, "--json"))["services"][0]


def helm(method, path, token=None, **more):
    headers = {**({"Authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
    return requests.request(method, HELM + path, headers=headers, timeout=40, **more)


def service_token(calling):
    asked = {"calling_service": calling, "target_service": "helm"}
    return requests.post(CORE + "/service-token", json=asked, timeout=5).json()["token"]


def signed(**claims):
    """A token made with Core's own key, whatever Core knows of it."""
    now = int(time.time())
    all_claims = {"iss": "hivematrix-core", "sub": "somebody", "iat": now, "exp": now + 3600, "permission_level": "admin", **claims}
    key = (CORE_DIR / "keys/jwt_private.pem").read_bytes()
    return jwt.encode(all_claims, key, algorithm="RS256", headers={"kid": "hivematrix-signing-key-1"})


class Browser(requests.Session):
    """A session that Nexus and Core made, by their own code."""

    def __init__(self, user):
        super().__init__()
        self.verify, self.trust_env = False, False
        identity.user = user
        first = self.get(NEXUS + "/helm/health", timeout=40)
        if first.url.split("?")[0] != NEXUS + "/helm/health" or first.status_code != 200:
            sys.exit(f"{user} cannot sign in: {first.status_code} {first.url} {first.text[:300]}")

    def ask(self, method, path, **more):
        return self.request(method, NEXUS + path, timeout=40, **{"allow_redirects": False, **more})

    def token(self):
        """Core's token, out of Nexus's cookie."""
        text = self.cookies["session"]
        packed = text.startswith(".")
        data = text.lstrip(".").split(".")[0]
        data = base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))
        return json.loads(zlib.decompress(data) if packed else data)["token"]


class Stream(threading.Thread):
    """A stream, read to its end or until it is closed."""

    def __init__(self, session, url, **more):
        super().__init__(daemon=True)
        self.answer = session.get(url, stream=True, timeout=40, **more)
        self.events, self.beats, self.over, self.changed = [], [], None, threading.Condition()
        self.start()

    def run(self):
        kind = ""
        try:
            for line in self.answer.iter_lines(decode_unicode=True):
                with self.changed:
                    if line.startswith(":"):
                        self.beats.append(time.monotonic())
                    elif line.startswith("event: "):
                        kind = line[7:]
                    elif line.startswith("data: "):
                        self.events.append((kind, json.loads(line[6:])))
                    self.changed.notify_all()
            self.end("ended")
        except Exception as e:  # whatever ends it, it is over, and the check says how
            self.end(repr(e))

    def end(self, how):
        with self.changed:
            self.over = how
            self.changed.notify_all()

    def wait(self, holds, within):
        with self.changed:
            return self.changed.wait_for(holds, within)

    def has(self, kind, words, within=30):
        return self.wait(lambda: any(k == kind and words in json.dumps(d) for k, d in self.events), within)


def found(service, search, token, **more):
    answer = helm("GET", "/api/v1/logs/export", token, params={"service": service, "search": search, **more})
    return [json.loads(line) for line in answer.text.splitlines()]


# ----------------------------------------------------------------------------------------------------------------------------


def of_core(admin):
    section("Core: its tokens, its key, its logger")
    token = service_token("nexus")
    answered("a service token reads states", helm("GET", "/api/services/status", token), 200)
    entry = {"service_name": "nexus", "logs": [{"level": "ERROR", "message": "by a service token"}]}
    answered("a service token sends entries", helm("POST", "/api/logs/ingest", token, json=entry), 200, '"ingested":1')
    answered("a service token restarts nothing", helm("POST", "/api/services/worker/restart", token), 403)

    jwk = requests.get(CORE + "/.well-known/jwks.json", timeout=5).json()["keys"][0]
    pem = (CORE_DIR / "keys/jwt_public.pem").read_bytes()
    of_file = jwt.algorithms.RSAAlgorithm.from_jwk(jwk).public_numbers()
    of_set = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).prepare_key(pem).public_numbers()
    check("Core's key set is its key file", of_file == of_set, jwk["kid"])

    started = eventually("Core's own logger ships to Helm", lambda: found("core", "core service started", admin.token(), source="sent"))
    check("its entry is whole", started and started[0]["level"] == "INFO" and started[0]["service_name"] == "core", started and started[0])
    requests.get(CORE + "/.well-known/jwks.json?of=the-logger", timeout=5)
    eventually("its access lines, too", lambda: found("core", "of=the-logger", admin.token(), twins="true", source="sent"))
    both = found("core", "of=the-logger", admin.token())
    check("what was printed and shipped is shown once", len(both) == 1, [(e["source"], e["flags"]) for e in both])
    # All four workers of Nexus say so, to their logger.
    eventually("Nexus's own logger ships to Helm", lambda: len(found("nexus", "nexus service started", admin.token(), source="sent")) == 4)

    stranger = signed(jti="never-given-by-core")
    answered("a token with Core's key whose session Core does not know", helm("GET", "/api/services", stranger), 401)
    answered("the same without a jti", helm("GET", "/api/services", signed()), 401)


def core_away(admin):
    section("Core hangs")
    token = admin.token()
    answered("a session that Core confirmed reads", helm("GET", "/api/v1/me", token), 200, '"admin"')
    pid = status("core")["pid"]
    os.kill(pid, signal.SIGSTOP)
    young = signed(jti="young-and-unknown")
    try:
        answered("Core hangs: a confirmed session reads", helm("GET", "/api/services/status", token), 200)
        answered("Core hangs: a confirmed session changes", helm("POST", "/api/services/worker/restart", token), 200, '"success":true')
        answered("Core hangs: a young token that Core never saw reads", helm("GET", "/api/services/status", young), 200)
        answered("Core hangs: and changes nothing", helm("POST", "/api/services/worker/restart", young), 503, "Core does not say")
        answered("Core hangs: one that is older than Nexus would take", helm("GET", "/api/services/status", signed(jti="old", iat=int(time.time()) - 400)), 401, "Core does not say")
        answered("/health", helm("GET", "/health"), 200)
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually("Core goes on: the unknown session is refused", lambda: helm("GET", "/api/v1/me", young).status_code == 401)
    answered("Core goes on: the confirmed one is not", helm("GET", "/api/v1/me", token), 200)

    section("Core is stopped, and started again")
    ctl("stop", "core")
    answered("Core stopped: a confirmed session reads", helm("GET", "/api/services/status", token), 200)
    answered("Core stopped: a young token reads", helm("GET", "/api/services/status", signed(jti="young-too")), 200)
    eventually("Core stopped: /health names it, and the command", lambda: "helmctl why core" in helm("GET", "/health").text)
    answered("Core stopped: through Nexus", admin.ask("GET", "/helm/api/services/status"), 200)
    ctl("start", "core")
    # Without Redis Core's sessions end with it.
    eventually("Core started: the session is gone with it", lambda: helm("GET", "/api/v1/me", token).status_code == 401)
    again = Browser("admin")
    answered("Core started: who signs in anew is let in", again.ask("GET", "/helm/api/v1/me"), 200, '"admin"')
    return again


def through_nexus(admin):
    section("Nexus: status, forms, pages")
    answer = answered("status", admin.ask("GET", "/helm/api/services/status"), 200, '"worker"')
    check("as JSON, not as a file of the browser's cache", answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store")
    page = answered("a page, with Nexus's side panel in it", admin.ask("GET", "/helm/docs"), 200, "hivematrix-side-panel")
    check("its links stay behind the prefix", 'href="openapi.json"' in page.text and answered("the link's end", admin.ask("GET", "/helm/openapi.json"), 200, "3.1"))
    run = status("worker")["run"]
    form = {"headers": {**OURS, "Content-Type": "application/x-www-form-urlencoded"}, "data": b""}
    answered("a form's post restarts a service", admin.ask("POST", "/helm/api/services/worker/restart", **form), 200, '"success":true')
    check("it was", status("worker")["run"] != run)
    answered("a fetch with JSON", admin.ask("POST", "/helm/api/services/worker/restart", headers=OURS, json={"mode": "development"}), 200)
    answered("not found is a problem with the path behind the prefix", admin.ask("GET", "/helm/api/services/nobody/status"), 404)

    section("Nexus: cross-site, and other people's rights")
    run = status("worker")["run"]
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    answered("a page of another site posts", admin.ask("POST", "/helm/api/services/worker/restart", headers=evil), 403, "another site")
    answered("the same by a browser without Sec-Fetch", admin.ask("POST", "/helm/api/services/worker/restart", headers={"Origin": "https://evil.example"}), 403)
    answered("and from a sandbox", admin.ask("POST", "/helm/api/services/worker/restart", headers={"Origin": "null"}), 403)
    link = next(word for word in ctl("dashboard", "--no-browser").split() if word.startswith("http"))
    local = requests.Session()
    local.get(link, timeout=10)
    answered("the admin's local session, direct", local.get(link.split("/sign-in")[0] + "/api/v1/me", timeout=10), 200, '"admin"')
    cookie = {"Cookie": "; ".join(f"{c.name}={c.value}" for c in local.cookies)}
    nobody = requests.get(NEXUS + "/helm/api/v1/me", headers=cookie, verify=False, allow_redirects=False, timeout=10)
    check("the local cookie alone opens nothing at Nexus", nobody.status_code == 302, nobody.headers.get("location"))
    technician = Browser("technician")
    both = "; ".join([cookie["Cookie"], *(f"{c.name}={c.value}" for c in technician.cookies)])
    answered("a technician beside an admin's local cookie is a technician", technician.ask("GET", "/helm/api/v1/me", headers={"Cookie": both}), 200, '"technician"')
    answered("and restarts nothing", technician.ask("POST", "/helm/api/services/worker/restart", headers={"Cookie": both, **OURS}), 403)
    answered("nor does the same, sent directly", helm("POST", "/api/services/worker/restart", technician.token(), headers=cookie), 403)
    check("the worker was not touched", status("worker")["run"] == run)
    client = Browser("client")
    answered("a client sees no log", client.ask("GET", "/helm/api/logs"), 403)


def pieces(admin):
    section("Nexus: an export in pieces")
    for begin in range(0, 25_000, 1000):
        entries = [{"level": "INFO", "message": f"entry {number}"} for number in range(begin, begin + 1000)]
        body = {"service_name": "bulk", "logs": entries}
        assert helm("POST", "/api/logs/ingest", json=body).json()["ingested"] == 1000
    numbers, cursor, count = [], "", 0
    while True:
        query = {"service": "bulk", **({"cursor": cursor} if cursor else {})}
        answer = admin.ask("GET", "/helm/api/v1/logs/export", params=query)
        if answer.status_code != 200:
            break
        numbers += [int(json.loads(line)["message"].split()[1]) for line in answer.text.splitlines()]
        count += 1
        cursor = answer.headers.get("x-helm-cursor", "")
        if not cursor:
            break
    check("every entry once, in order, in pieces", numbers == list(range(25_000)) and count >= 3, f"{len(numbers)} in {count} pieces")


def streams(admin):
    section(f"Nexus: a stream for {STREAM} s, and a job meanwhile")
    stream = Stream(admin, NEXUS + "/helm/api/v1/stream?topics=status,events,logs,jobs")
    check("it is one", stream.answer.headers["content-type"] == "text/event-stream" and "gzip" not in stream.answer.headers.get("content-encoding", ""))
    check("it begins", stream.has("begin", ""))
    begin = time.monotonic()
    jobs = {}
    # Not ready within 25 s: Nexus would give up after 30.
    starting = threading.Thread(target=lambda: jobs.update(slow=admin.ask("POST", "/helm/api/services/slow/start", headers=OURS)))
    starting.start()
    helm("POST", "/api/logs/ingest", json={"service_name": "bulk", "logs": [{"level": "ERROR", "message": "while you look"}]})
    check("a line arrives", stream.has("logs", "while you look"))
    ctl("restart", "worker")
    check("an event arrives", stream.has("events", "worker") or stream.has("event", "worker", 1), {kind for kind, _ in stream.events})
    stream.wait(lambda: stream.over or time.monotonic() - begin >= STREAM, STREAM)
    gaps = [round(b - a, 1) for a, b in zip([begin, *stream.beats], stream.beats)]
    check("heartbeats", stream.over is None and len(stream.beats) >= STREAM // 10 - 1, f"{len(stream.beats)} in {time.monotonic() - begin:.0f} s, {gaps} s between them")
    starting.join()
    job = answered("what takes longer is a job", jobs["slow"], 202).json().get("job", {})
    check("its url is behind the prefix", job.get("url", "").startswith("/helm/api/v1/jobs/"), job)
    answered("and leads there", admin.ask("GET", job.get("url", "/")), 200, job.get("id", "?"))
    ctl("stop", "slow")
    stream.answer.close()

    section("Nexus: a session that ends")
    other = Browser("admin")
    stream = Stream(other, NEXUS + "/helm/api/v1/stream?topics=status")
    check("a stream of another session", stream.has("begin", ""))
    token, old = other.token(), {"Cookie": f"session={other.cookies['session']}"}
    other.ask("GET", "/logout")
    begin = time.monotonic()
    check("it ends within 20 s of the logout", stream.wait(lambda: stream.over, 40) and time.monotonic() - begin <= 20, f"{time.monotonic() - begin:.1f} s: {stream.over}, {stream.events[-1:]}")
    answered("Helm takes its token no more", helm("GET", "/api/v1/me", token), 401)
    # Whoever kept the cookie comes with a token that Core has revoked.
    late = requests.get(NEXUS + "/helm/api/services/status", headers=old, verify=False, allow_redirects=False, timeout=10)
    check("a session that is over is sent to /login, a fetch, too", late.status_code == 302 and "/login?next=" in late.headers["location"], late.headers.get("location"))


def kill_helmd():
    pid = json.loads((HOME / "instance/helmd.lock").read_text())["pid"]
    begin = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    # Away for a while: that is what is tried here.
    time.sleep(1.5)
    ctl("daemon", "start")
    eventually("it is back", lambda: status("core")["state"] == "running")
    return f"away for {time.monotonic() - begin:.1f} s"


def reexec():
    ctl("daemon", "reexec")
    return ""


def restart_helm():
    ctl("restart", "helm")
    return ""


def kill_web():
    os.kill(status("helm")["pid"], signal.SIGKILL)
    return ""


def loggers(sign_in):
    """Strikes while both loggers ship; every line must be there once."""
    strikes = [("kill -9 of helmd", kill_helmd), ("helmctl daemon reexec", reexec), ("helmctl restart helm", restart_helm)]
    for number, (what, strike) in enumerate([*strikes, ("kill -9 of helm-web", kill_web)]):
        section(f"the loggers of Core and Nexus: {what}")
        count, running = 2500, []
        for name, directory in [("core", CORE_DIR), ("nexus", NEXUS_DIR)]:
            words = [directory / "pyenv/bin/python", Path(__file__).with_name("shipper.py"), directory, name, str(number), str(count), "250"]
            environment = {**os.environ, "CORE_SERVICE_URL": CORE}
            running.append((name, subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)))
        time.sleep(2)
        said = strike()
        said = [said] + [line for _, shipper in running for line in shipper.communicate(timeout=120)[1].splitlines()]
        token = sign_in().token()
        for name, _ in running:
            entries = found(name, f"round {number},", token, twins="true")
            numbers = sorted(entry["context"]["number"] for entry in entries)
            missing = sorted(set(range(count)) - set(numbers))
            # A batch has ten lines; of helm-web's own death the requests in flight may be lost, one a logger.
            bearable = 10 if strike is kill_web else 0
            good = len(numbers) == len(set(numbers)) and len(missing) <= bearable
            check(f"{name}: {what} loses nothing" if not bearable else f"{name}: {what} loses at most what was in flight", good,
                  f"{len(numbers)} of {count}, missing {missing[:12]} {[line for line in said if line][:3]}")


def keys_replaced(admin):
    section("Core's keys are replaced, under the same kid")
    old = admin.token()
    answered("before", helm("GET", "/api/v1/me", old), 200)
    private, public = CORE_DIR / "keys/jwt_private.pem", CORE_DIR / "keys/jwt_public.pem"
    subprocess.run(["openssl", "genrsa", "-out", private, "2048"], check=True, capture_output=True)
    subprocess.run(["openssl", "rsa", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    # Nexus keeps keys by their kid: it has to be started anew, too.
    ctl("restart", "core", "nexus")
    new = Browser("admin")
    answered("a token signed with the new key", helm("GET", "/api/v1/me", new.token()), 200, '"admin"')
    answered("a token signed with the old one", helm("GET", "/api/v1/me", old), 401)
    eventually("the change is on record", lambda: "key" in ctl("audit"))
    print("      " + next((line for line in ctl("audit").splitlines() if "key" in line), "").strip())


identity = Identity()
ctl("daemon", "start")
ctl("up", "helm", "core", "nexus", "worker", "--mode", "production")
admin = Browser("admin")
of_core(admin)
through_nexus(admin)
pieces(admin)
streams(admin)
admin = core_away(admin)
loggers(lambda: admin)
keys_replaced(admin)
print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {len(failed)} failed")
for what in failed:
    print(f"    {what}")
sys.exit(bool(failed))
