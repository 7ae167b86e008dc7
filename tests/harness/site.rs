//! A home with helmd, helm-web and a Core: its key pair, tokens that are signed with it, and a stub that says which sessions live.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::home::{Home, free_port};
use crate::wait::eventually;
use crate::watch::block_on;

/// How long a connection may take for one request.
const WITHIN: Duration = Duration::from_secs(30);

/// helm-web over a home of its own. Dropping it ends all of it.
#[derive(Debug)]
pub struct Site {
    web: Child,
    port: u16,
    key: EncodingKey,
    core: Core,
    /// The home.
    pub home: Home,
}

impl Site {
    /// With these services beside Core, and these settings of helm.conf.
    #[track_caller]
    pub fn new(services: &Value, settings: &str) -> Self {
        let core = Core::start();
        let mut all = json!({"core": {"url": core.url(), "path": "core", "port": core.address.port()}});
        if let (Some(all), Some(more)) = (all.as_object_mut(), services.as_object()) {
            all.extend(more.clone());
        }
        let home = Home::new(&all);
        home.write("instance/helm.conf", settings);
        let key = key_pair(&home);
        home.ctl(&["daemon", "start"]).code(0);
        let port = free_port();
        let web = start(&home, port);
        Self { web, port, key, core, home }
    }

    /// The pid of helm-web.
    pub fn pid(&self) -> u32 {
        self.web.id()
    }

    /// helm-web is killed, and another one takes its place.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        let killed = self.web.kill().and_then(|()| self.web.wait());
        assert!(killed.is_ok(), "{killed:?}");
        self.web = start(&self.home, self.port);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Core says no more that this session lives.
    pub fn revoke(&self, token: &str) {
        self.core.revoked.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned());
    }

    /// A token with these claims beside those that every token has.
    #[track_caller]
    pub fn signed(&self, claims: &Value) -> String {
        let now = seconds();
        let mut all = json!({"iss": "hivematrix-core", "iat": now, "exp": now + 3600});
        if let (Some(all), Some(more)) = (all.as_object_mut(), claims.as_object()) {
            all.extend(more.clone());
        }
        encode(&Header::new(Algorithm::RS256), &all, &self.key).unwrap_or_else(|e| panic!("no token: {e}"))
    }

    /// A user's token, each with a session of its own.
    pub fn user(&self, level: &str) -> String {
        static SESSIONS: AtomicU32 = AtomicU32::new(0);
        let session = format!("session-{}", SESSIONS.fetch_add(1, Ordering::Relaxed));
        self.signed(&json!({
            "sub": format!("id-of-{level}"), "jti": session, "preferred_username": level, "permission_level": level,
        }))
    }

    /// A service's token.
    pub fn service(&self, calling: &str) -> String {
        self.signed(&json!({
            "sub": format!("service:{calling}"), "type": "service", "calling_service": calling, "target_service": "helm",
        }))
    }

    /// GET
    #[track_caller]
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token, None)
    }

    /// POST with JSON
    #[track_caller]
    pub fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.ask("POST", path, token, Some(body))
    }

    /// A request; an empty token is none.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        self.send(request.body(body).unwrap_or_else(|e| panic!("{method} {path}: {e}")))
    }

    /// A request as it is; without a Host it is for this one.
    #[track_caller]
    pub fn send(&self, request: Request<impl Into<Bytes>>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        let mut request = request.map(|body| Full::new(body.into()));
        let host = self.address().to_string().parse();
        let host = host.unwrap_or_else(|e| panic!("{e}"));
        request.headers_mut().entry(HOST).or_insert(host);
        let answered = block_on(async {
            let stream = tokio::net::TcpStream::connect(self.address()).await.map_err(|e| e.to_string())?;
            let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = shaken.map_err(|e| e.to_string())?;
            let driving = tokio::spawn(connection);
            let answer = tokio::time::timeout(WITHIN, async {
                let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
                Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, what: what.clone() })
            });
            let answer = answer.await.map_err(|_| "no answer in time".to_owned()).and_then(|answer| answer);
            driving.abort();
            answer
        });
        answered.unwrap_or_else(|e: String| panic!("{what}: {e}\n{}", self.home.read("web.err")))
    }

    /// Bytes as they are, until the other side closes or answers: what is no HTTP cannot be said otherwise.
    #[track_caller]
    pub fn raw(&self, bytes: &[u8]) -> String {
        let answered = || {
            let mut stream = TcpStream::connect(self.address())?;
            stream.set_read_timeout(Some(WITHIN))?;
            // It may have heard enough before everything is said.
            let _ = stream.write_all(bytes);
            let mut answer = Vec::new();
            let mut reader = BufReader::new(stream);
            reader.read_until(b'\n', &mut answer)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).trim().to_owned())
        };
        answered().unwrap_or_else(|e| format!("closed: {}", e.kind()))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.web.kill();
        let _ = self.web.wait();
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    what: String,
}

impl Answer {
    /// It must have this status.
    #[track_caller]
    pub fn status(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "{}\n{}", self.what, self.text());
        self
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{}: no JSON: {e}\n{}", self.what, self.text()))
    }

    /// A header; an empty one where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A problem as RFC 9457 has it, with this status: its detail.
    #[track_caller]
    pub fn problem(self, expected: u16) -> String {
        let answer = self.status(expected);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.what);
        let problem = answer.json();
        assert_eq!(problem["status"], expected);
        assert!(problem["type"].as_str().is_some_and(|word| word.starts_with("about:blank#")), "{problem}");
        problem["detail"].as_str().unwrap_or_default().to_owned()
    }

    /// The plain object of contract 5, with this status: its words.
    #[track_caller]
    pub fn plain(self, expected: u16) -> String {
        let answer = self.status(expected);
        assert_eq!(answer.header("content-type"), "application/json", "{}", answer.what);
        answer.json()["error"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
    }
}

fn start(home: &Home, port: u16) -> Child {
    let err = std::fs::File::create(home.path("web.err")).unwrap_or_else(|e| panic!("web.err: {e}"));
    let mut command = home.command("helm-web");
    command.args(["--listen", &format!("127.0.0.1:{port}")]).stdout(Stdio::null()).stderr(err);
    let web = command.spawn().unwrap_or_else(|e| panic!("helm-web: {e}"));
    eventually("helm-web listens", || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop).map_err(|_| home.read("web.err"))
    });
    web
}

/// As Core's start script makes it.
#[track_caller]
fn key_pair(home: &Home) -> EncodingKey {
    home.write("core/keys/README", "Core's keys\n");
    let [private, public] =
        ["private", "public"].map(|which| home.path(&format!("core/keys/jwt_{which}.pem")));
    let openssl = |words: &[&str]| {
        let done = Command::new("openssl").args(words).stderr(Stdio::null()).status();
        assert!(done.is_ok_and(|status| status.success()), "openssl {words:?}");
    };
    let [private_path, public_path] = [private.display().to_string(), public.display().to_string()];
    openssl(&["genrsa", "-out", &private_path, "2048"]);
    openssl(&["rsa", "-in", &private_path, "-pubout", "-out", &public_path]);
    let pem = std::fs::read(&private).unwrap_or_else(|e| panic!("{private_path}: {e}"));
    EncodingKey::from_rsa_pem(&pem).unwrap_or_else(|e| panic!("{private_path}: {e}"))
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Core's `/api/token/validate`: every session lives that was not revoked.
#[derive(Debug)]
struct Core {
    address: SocketAddr,
    revoked: Arc<Mutex<BTreeSet<String>>>,
    serving: Option<JoinHandle<()>>,
}

/// By which the stub is told to end.
const END: &str = "END";

impl Core {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|e| panic!("no port: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("no address: {e}"));
        let revoked = Arc::new(Mutex::new(BTreeSet::new()));
        let known = revoked.clone();
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Whoever leaves before the end gets no answer.
                if matches!(answer(stream, &known), Ok(false)) {
                    return;
                }
            }
        });
        Self { address, revoked, serving: Some(serving) }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let told = TcpStream::connect(self.address).and_then(|mut stream| writeln!(stream, "{END}"));
        if let (Ok(()), Some(serving)) = (told, self.serving.take()) {
            let _ = serving.join();
        }
    }
}

/// Answers one request; false: it was the last one.
fn answer(stream: TcpStream, revoked: &Mutex<BTreeSet<String>>) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    if first.trim() == END {
        return Ok(false);
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let token = body["token"].as_str().unwrap_or_default();
    let lives = !revoked.lock().unwrap_or_else(PoisonError::into_inner).contains(token);
    let (status, body) = match lives {
        true => ("200 OK", json!({"valid": true, "user": {}})),
        false => ("401 Unauthorized", json!({"valid": false, "error": "Session not found"})),
    };
    let body = body.to_string();
    write!(
        reader.get_mut(),
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    Ok(true)
}
