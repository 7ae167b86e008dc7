//! A small HiveMatrix: core, nexus, keycloak and a worker, each of which is whole.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use harness::home::{Home, fixture};
use serde_json::{Value, json};

/// Answers as a service of the ecosystem does; `no-realm` beside it: there is none; `sick`: it is not well until it is
/// started again.
const SERVER: &str = r#"
import http.server, json, os, ssl, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path != "/realms/hivematrix" or not os.path.exists("no-realm")
        sick = os.path.exists("sick")
        self.send_response(404 if not known else 503 if sick else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "unhealthy" if sick else "healthy"}).encode())
    def log_message(self, *words):
        pass
print("comes up")
if os.path.exists("sick"):
    os.remove("sick")
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer)
if os.environ.get("TLS"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("certs/nexus.crt", "certs/nexus.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// Its ports.
pub(super) struct Ports {
    pub(super) core: u16,
    pub(super) nexus: u16,
    pub(super) keycloak: u16,
}

/// The home with everything in it, before helmd ever ran.
pub(super) fn site() -> Home {
    site_with(|_, _| {})
}

/// The same, with another `services.json`.
pub(super) fn site_with(edit: impl FnOnce(&mut Value, &Ports)) -> Home {
    let ports = Ports { core: port(), nexus: port(), keycloak: port() };
    let mut services = services(&ports);
    edit(&mut services, &ports);
    let home = Home::new(&services);
    let config = home.path("config").display().to_string();
    let home = home.with_env("XDG_CONFIG_HOME", &config);
    for name in ["core", "nexus"] {
        python(&home, name);
    }
    let keys = keys();
    home.write("core/keys/jwt_private.pem", &keys.private);
    home.write("core/keys/jwt_public.pem", &keys.public);
    home.write("nexus/certs/nexus.crt", &keys.certificate);
    home.write("nexus/certs/nexus.key", &keys.private);
    home.write("keycloak/server.py", SERVER);
    home.write("keycloak/bin/kc.sh", "#!/bin/sh\nexec python3 -u server.py\n");
    mode(&home.path("keycloak/bin/kc.sh"), 0o755);
    for secret in ["core/keys/jwt_private.pem", "nexus/certs/nexus.key"] {
        mode(&home.path(secret), 0o600);
    }
    home
}

/// Below those that the kernel gives away: what is found at a port must not be another test's.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 10;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn services(ports: &Ports) -> Value {
    let env = |port: u16| json!({"PORT": port.to_string(), "PYTHONUNBUFFERED": "1"});
    let probes = json!({"readiness": {"http": "/health", "interval": "100ms"}});
    let mut nexus = env(ports.nexus);
    nexus["TLS"] = json!("1");
    let Ports { core, nexus: secure, keycloak } = ports;
    json!({
        "core": {"path": "core", "url": format!("http://127.0.0.1:{core}"), "port": core, "env": env(*core), "probes": probes},
        "nexus": {"path": "nexus", "url": format!("https://127.0.0.1:{secure}"), "port": secure, "env": nexus, "probes": probes},
        "keycloak": {"path": "keycloak", "start_command": "bin/kc.sh start-dev", "url": format!("http://127.0.0.1:{keycloak}"),
            "port": keycloak, "env": env(*keycloak), "probes": probes},
        "worker": {"command": fixture("chatty", "rate=20")},
        "helm": {"url": "http://helm.example.org:5004"},
    })
}

fn python(home: &Home, name: &str) {
    home.write(&format!("{name}/run.py"), SERVER);
    home.write(&format!("{name}/.flaskenv"), "SECRET_KEY=0123456789abcdef\n");
    fs::create_dir_all(home.path(&format!("{name}/pyenv/bin"))).unwrap();
    symlink("/usr/bin/python3", home.path(&format!("{name}/pyenv/bin/python"))).unwrap();
    symlink(home.path("services.json"), home.path(&format!("{name}/services.json"))).unwrap();
}

pub(super) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A user that there is not, who has nothing else.
pub(super) const STRANGER: u32 = 64_996;

/// Everything below is that user's.
pub(super) fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(path).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            give(&path, user);
        } else {
            lchown(&path, Some(user), Some(user)).unwrap();
        }
    }
}

/// In PEM.
pub(super) struct Keys {
    pub(super) private: String,
    pub(super) public: String,
    pub(super) certificate: String,
    pub(super) expired: String,
    /// Of another pair.
    pub(super) other: String,
}

/// Made once, by the tool that HiveMatrix makes them with.
pub(super) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let openssl = |words: &str| {
            let done = Command::new("openssl").args(words.split(' ')).current_dir(dir.path()).output().unwrap();
            assert!(done.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&done.stderr));
        };
        openssl("req -x509 -newkey rsa:2048 -nodes -days 365 -subj /C=US/O=HiveMatrix/CN=localhost -keyout private -out certificate");
        openssl("rsa -in private -pubout -out public");
        openssl("x509 -in certificate -signkey private -days -1 -out expired");
        openssl("genrsa -out other 2048");
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        Keys {
            private: read("private"),
            public: read("public"),
            certificate: read("certificate"),
            expired: read("expired"),
            other: read("other"),
        }
    })
}

/// Everything runs and is healthy.
pub(super) fn up(home: &Home) {
    home.ctl(&["up", "--timeout", "60"]).code(0);
    for name in ["core", "nexus", "keycloak"] {
        home.wait_for(name, "healthy", |s| s.health == "healthy");
    }
    home.wait_for("worker", "it runs", |s| s.state == "running");
}
