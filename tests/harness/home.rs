//! A home of its own for each test, and the end of everything that was started in it.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::bins::bin;
use crate::capture::{self, Line};
use crate::journal::{self, Journal, Life};
use crate::procs::{self, Process};
use crate::wait::{eventually, pause};

/// A directory with a `services.json`, and whatever runs in it. Dropping it ends all of that.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    /// Removed with the home, unless it is kept.
    temp: Option<TempDir>,
    tag: String,
    env: Vec<(String, String)>,
}

/// argv of a fixture: `fixture("chatty", "rate=10 count=5")`.
pub fn fixture(name: &str, options: &str) -> Value {
    let mut argv = vec![bin(name).display().to_string()];
    argv.extend(options.split_ascii_whitespace().map(str::to_owned));
    json!(argv)
}

/// What a program printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; 128 + n for signal n.
    pub code: i32,
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
}

impl Said {
    /// Of a finished program.
    pub fn of(output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().or_else(|| output.status.signal().map(|s| 128 + s));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: code.unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// It must have ended so.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, expected, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|e| panic!("not JSON: {e}\n{}\n{}", self.out, self.err))
    }

    /// One of both streams must have this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let found = self.out.contains(text) || self.err.contains(text);
        assert!(found, "not said: {text:?}\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }
}

impl Home {
    /// A home with these services, under a short path.
    pub fn new(services: &Value) -> Self {
        Self::within("", services)
    }

    /// A home below `sub` of its temporary directory: for long paths.
    pub fn within(sub: &str, services: &Value) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let temp = tempfile::Builder::new()
            .prefix("helm-")
            .tempdir_in("/tmp")
            .unwrap_or_else(|e| panic!("/tmp: {e}"));
        let dir = temp.path().join(sub);
        make_dir(&dir);
        let dir = dir.canonicalize().unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let tag = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let home = Self { dir, temp: Some(temp), tag, env: Vec::new() };
        make_dir(&home.path("journal"));
        home.write_services(services);
        home
    }

    /// A variable for helmd and helmctl.
    #[must_use]
    pub fn with_env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Writes `services.json`; every service that has a program gets lock, journal and marker into its environment.
    pub fn write_services(&self, services: &Value) {
        let mut services = services.clone();
        for (name, service) in services.as_object_mut().into_iter().flatten() {
            // The entry `helm` with a port is helm-web without saying so.
            let runs = |s: &Map<String, Value>| {
                (name == "helm" && s.contains_key("port"))
                    || s.contains_key("command")
                    || s.contains_key("path")
            };
            let Some(service) = service.as_object_mut().filter(|s| runs(s)) else {
                continue;
            };
            let env = service.entry("env").or_insert_with(|| Value::Object(Map::new()));
            for (key, value) in self.service_env(name) {
                env[key] = json!(value);
            }
        }
        self.write("services.json", &format!("{services:#}"));
    }

    fn service_env(&self, name: &str) -> [(&'static str, String); 3] {
        [
            ("LOCK_FILE", self.path(&format!("journal/{name}.lock")).display().to_string()),
            ("JOURNAL", self.path(&format!("journal/{name}")).display().to_string()),
            ("HELM_TEST", self.tag.clone()),
        ]
    }

    /// A path inside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.join(inside)
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file.
    #[track_caller]
    pub fn write(&self, inside: &str, content: &str) {
        let path = self.path(inside);
        make_dir(path.parent().unwrap_or(&self.dir));
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Reads a file; one that is not there is empty.
    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_default()
    }

    /// One of the binaries for this home, ready to be run.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(bin(name));
        command.arg("--home").arg(&self.dir).current_dir("/").stdin(Stdio::null());
        for key in ["HELM_HOME", "XDG_RUNTIME_DIR", "NO_COLOR"] {
            command.env_remove(key);
        }
        command.env("HELM_TEST", &self.tag).envs(self.env.iter().cloned());
        command
    }

    /// `helmctl` with these words, ready to be run.
    pub fn helmctl(&self, words: &[&str]) -> Command {
        let mut command = self.command("helmctl");
        command.args(words);
        command
    }

    /// Runs `helmctl`; bounded by its own time limits.
    #[track_caller]
    pub fn ctl(&self, words: &[&str]) -> Said {
        let output = self.helmctl(words).output().unwrap_or_else(|e| panic!("helmctl {words:?}: {e}"));
        Said::of(&output)
    }

    /// Starts `helmctl`; what it says on stderr goes there.
    #[track_caller]
    pub fn running(&self, words: &[&str], err: impl Into<Stdio>) -> Running {
        let mut command = self.helmctl(words);
        command.stdout(Stdio::null()).stderr(err);
        Running::of(command)
    }

    /// Starts helmd directly; what it says goes to `helmd.err` in the home.
    #[track_caller]
    pub fn spawn_helmd(&self) -> Helmd {
        let err = fs::OpenOptions::new().append(true).create(true).open(self.path("helmd.err"));
        self.spawn_helmd_with(&[], err.unwrap_or_else(|e| panic!("helmd.err: {e}")))
    }

    /// The same with these words, and elsewhere for what it says.
    #[track_caller]
    pub fn spawn_helmd_with(&self, words: &[&str], err: impl Into<Stdio>) -> Helmd {
        let child = self.command("helmd").args(words).stdout(Stdio::null()).stderr(err).spawn();
        Helmd(child.unwrap_or_else(|e| panic!("helmd: {e}")))
    }

    /// Starts helmd as systemd does with a socket unit (sd_listen_fds(3)): this one listens already.
    #[track_caller]
    pub fn spawn_helmd_at(&self, socket: OwnedFd) -> Helmd {
        let inner = self.command("helmd");
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"", "sh"]);
        shell.arg(inner.get_program()).args(inner.get_args()).current_dir("/");
        for (key, value) in inner.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        let child = shell.stdin(socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Helmd(child.unwrap_or_else(|e| panic!("helmd: {e}")))
    }

    /// The helmd that the lock file names, if it lives.
    pub fn helmd(&self) -> Option<Process> {
        let lock: Value = serde_json::from_str(&self.read("instance/helmd.lock")).ok()?;
        let process = Process::of(u32::try_from(lock["pid"].as_u64()?).ok()?)?;
        (process.alive() && process.command().contains("helmd")).then_some(process)
    }

    /// `kill -9` to helmd, and it is gone.
    #[track_caller]
    pub fn kill_helmd(&self) {
        let helmd = self.helmd().unwrap_or_else(|| panic!("no helmd to kill\n{}", self.read("helmd.err")));
        helmd.kill();
        gone(helmd);
    }

    /// The keeper of a service, if one lives.
    pub fn keeper(&self, service: &str) -> Option<Process> {
        let text = self.read(&format!("instance/run/{service}/shim.lock"));
        let digits: String =
            text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        let process = Process::of(digits.parse().ok()?)?;
        (process.alive() && process.command().contains("helm-shim")).then_some(process)
    }

    /// All keepers of this home.
    pub fn keepers(&self) -> BTreeSet<Process> {
        let dir = self.dir.display().to_string();
        procs::marked(&dir).into_iter().filter(|p| p.command().contains("helm-shim")).collect()
    }

    /// Every process of the services of this home.
    pub fn processes(&self) -> BTreeSet<Process> {
        procs::marked(&format!("HELM_TEST={}", self.tag))
            .into_iter()
            .filter(|p| {
                !["helmd", "helmctl", "helm-shim", "helm-web"]
                    .iter()
                    .any(|own| p.command().contains(&format!("/{own} ")))
            })
            .collect()
    }

    /// What a service says of its lives.
    #[track_caller]
    pub fn journal(&self, service: &str) -> Journal {
        journal::read(&self.path(&format!("journal/{service}")))
            .unwrap_or_else(|e| panic!("journal of {service}: {e}"))
    }

    /// The first life of a service, once it has told of it: its main function runs a moment after its exec.
    #[track_caller]
    pub fn life(&self, service: &str) -> Life {
        eventually("a first life", || {
            self.journal(service).lives.into_iter().next().ok_or_else(|| self.story(service))
        })
    }

    /// What was captured of a service.
    #[track_caller]
    pub fn lines(&self, service: &str) -> Vec<Line> {
        capture::read(&self.path(&format!("logs/{service}")))
            .unwrap_or_else(|e| panic!("logs/{service}: {e}"))
    }

    /// What was captured so far, while it is being written.
    pub fn lines_so_far(&self, service: &str) -> Result<Vec<Line>, String> {
        capture::read_so_far(&self.path(&format!("logs/{service}"))).map_err(|e| e.to_string())
    }

    /// For messages: what can be seen of this home from the outside.
    pub fn story(&self, service: &str) -> String {
        let mut story =
            format!("helmd: {:?}, keeper of {service}: {:?}\n", self.helmd(), self.keeper(service));
        for (title, words) in [
            ("status", vec!["status", "--json", service]),
            ("events", vec!["events", "-n", "30", service]),
            ("output", vec!["output", service, "-n", "20"]),
        ] {
            if self.helmd().is_some() {
                let said = self.ctl(&words);
                story += &format!("--- {title}\n{}{}", said.out, said.err);
            }
        }
        for log in ["helmd.err", "logs/helmd.log"] {
            let text = self.read(log);
            let last: Vec<&str> = text.lines().rev().take(30).collect();
            story += &format!("\n--- {log}\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        story
    }

    /// Ends everything, and leaves the directory for a person to look at.
    pub fn keep(mut self) -> PathBuf {
        self.end();
        if let Some(temp) = self.temp.take() {
            // Its path is that of the home, or above it.
            let _ = temp.keep();
        }
        self.dir.clone()
    }

    /// Ends everything, hard.
    fn end(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            // helmd and the keepers first, so that nothing is started again.
            let all = || {
                self.helmd()
                    .into_iter()
                    .chain(self.keepers())
                    .chain(procs::marked(&format!("HELM_TEST={}", self.tag)))
            };
            let alive: BTreeSet<Process> = all().collect();
            if alive.is_empty() {
                break;
            }
            if Instant::now() > end {
                eprint(&format!(
                    "left behind by a test: {:?}",
                    alive.iter().map(|p| p.command()).collect::<Vec<_>>()
                ));
                break;
            }
            for process in all() {
                process.signal(Signal::KILL);
            }
            pause(Duration::from_millis(5));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.end();
    }
}

/// A program that goes on while the test does.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it.
    #[track_caller]
    pub fn of(mut command: Command) -> Self {
        Self(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// Its exit code, once it has ended; bounded by its own time limits.
    pub fn ended(mut self) -> i32 {
        self.0.wait().ok().and_then(|status| status.code()).unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is over already where the test came to its end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A helmd that is the test's own child.
#[derive(Debug)]
pub struct Helmd(Child);

impl Helmd {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// It is over already.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = Process::of(self.pid()) {
            process.signal(signal);
        }
    }

    /// Its exit code, once it has ended.
    #[track_caller]
    pub fn ended(mut self) -> i32 {
        let status = eventually("helmd ends", || match self.0.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        status.code().unwrap_or(-1)
    }

    /// `kill -9`, and it is reaped.
    pub fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Helmd {
    fn drop(&mut self) {
        // The home ends it if it still runs; here it is only reaped where it is over.
        let _ = self.0.try_wait();
    }
}

/// Waits until a process is gone.
#[track_caller]
pub fn gone(process: Process) {
    eventually("a process is gone", || if process.alive() { Err(process.command()) } else { Ok(()) });
}

/// A port of loopback that was free a moment ago.
pub fn free_port() -> u16 {
    let listener =
        std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap_or_else(|e| panic!("no free port: {e}"));
    listener.local_addr().map_or(0, |address| address.port())
}

fn make_dir(path: &Path) {
    fs::create_dir_all(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a clean-up that failed, where a panic would hide the test's own"
)]
fn eprint(text: &str) {
    eprintln!("{text}");
}
