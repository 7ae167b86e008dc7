//! Healthy services alone, and beside a hung probe, a crash loop and a dependency that flaps. See docs/benches.md.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use helm_client::{Client, Home};
use serde_json::{Map, Value, json};

/// Measures what troublesome neighbours do to healthy services, and prints a table.
#[derive(Debug, Parser)]
struct Options {
    /// Healthy services.
    #[arg(long, default_value_t = 20)]
    healthy: usize,
    /// Troublemakers of each kind.
    #[arg(long, default_value_t = 3)]
    trouble: usize,
    /// Seconds of watching in each of the two situations.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Directory of helmd, helmctl, helm-shim and the fixture `web` [default: where this program is].
    #[arg(long)]
    helm: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{at}: {cause}")]
    Io { at: String, cause: io::Error },
    #[error("helmctl {what} ended with {code}: {said}")]
    Helmctl { what: String, code: i32, said: String },
    #[error("helmd: {0}")]
    Helm(String),
    #[error("{0} is missing; cargo build -p helmd -p helmctl -p helm-shim -p helm-tests")]
    Absent(String),
    #[error("no figures: {0}")]
    Nothing(&'static str),
}

type Result<T> = std::result::Result<T, Error>;

fn at(place: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Error {
    let at = place.as_ref().display().to_string();
    move |cause| Error::Io { at, cause }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match compare(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "neighbours: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if no healthy service was touched.
fn compare(options: &Options) -> Result<bool> {
    let own = std::env::current_exe().map_err(at("this program"))?;
    let bins = options.helm.clone().unwrap_or_else(|| own.parent().unwrap_or(Path::new(".")).to_owned());
    for name in ["helmd", "helmctl", "helm-shim", "web"] {
        if !bins.join(name).is_file() {
            return Err(Error::Absent(bins.join(name).display().to_string()));
        }
    }
    let alone = measure(options, &bins, false)?;
    let beside = measure(options, &bins, true)?;
    let said = table(options, &alone, &beside);
    io::stdout().lock().write_all(said.as_bytes()).map_err(at("stdout"))?;
    Ok(alone.touched + beside.touched == 0)
}

/// What was seen in one situation.
#[derive(Debug)]
struct Figures {
    /// From the command to the last healthy service's readiness.
    start: Duration,
    /// Milliseconds that a probe of a healthy service took.
    probes: Vec<f64>,
    /// Milliseconds that a call for the status of all services took.
    calls: Vec<f64>,
    /// Healthy services that have another pid, run or start time than at first, or were not ready in one of the looks.
    touched: usize,
    restarts: u32,
    /// Restarts of the others, and their states at the end: there was trouble.
    trouble: String,
}

fn measure(options: &Options, bins: &Path, with_trouble: bool) -> Result<Figures> {
    let dir = tempfile::tempdir().map_err(at("a temporary directory"))?;
    let trouble = if with_trouble { options.trouble } else { 0 };
    let (services, healthy, others) = services(bins, options.healthy, trouble)?;
    let file = dir.path().join("services.json");
    std::fs::write(&file, services.to_string()).map_err(at(&file))?;
    std::fs::write(dir.path().join("hang"), "hang").map_err(at(dir.path()))?;
    let helm = Helm { bins, home: dir.path() };
    let figures = helm.watch(&healthy, &others, Duration::from_secs(options.seconds));
    // Whatever happened: nothing stays.
    let ended = helm.ctl(&["down"]).and_then(|()| helm.ctl(&["daemon", "stop"]));
    figures.and_then(|figures| ended.map(|()| figures))
}

/// services.json, the names of the healthy ones, and of the others.
fn services(bins: &Path, healthy: usize, trouble: usize) -> Result<(Value, Vec<String>, Vec<String>)> {
    let mut all = Map::new();
    let web = |options: &str| -> Result<Value> {
        let port = free_port()?;
        let mut command = vec![bins.join("web").display().to_string(), format!("port={port}")];
        command.extend(options.split_ascii_whitespace().map(str::to_owned));
        let readiness = json!({"http": "/health", "interval": "100ms", "timeout": "2s"});
        let probes = json!({"startup": {"http": "/health", "interval": "50ms", "timeout": "2s"}, "readiness": readiness});
        Ok(json!({"command": command, "url": format!("http://127.0.0.1:{port}"), "probes": probes}))
    };
    let shell = |script: &str, backoff: &str| json!({"command": script, "shell": true, "backoff": {"initial": backoff, "max": backoff, "jitter": 0}});
    let mut names = (Vec::new(), Vec::new());
    for i in 0..healthy {
        names.0.push(format!("healthy-{i:02}"));
        all.insert(format!("healthy-{i:02}"), web("")?);
    }
    for i in 0..trouble {
        let mut dependent = shell("exec sleep 3600", "100ms");
        dependent["depends_on"] = json!({format!("flaps-{i}"): "started"});
        let kinds = [
            ("hangs", web("control=hang")?),
            ("loops", shell("exit 1", "20ms")),
            ("flaps", shell("sleep 0.2; exit 1", "50ms")),
            ("leans", dependent),
        ];
        for (kind, service) in kinds {
            names.1.push(format!("{kind}-{i}"));
            all.insert(format!("{kind}-{i}"), service);
        }
    }
    Ok((Value::Object(all), names.0, names.1))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(at("127.0.0.1"))?;
    Ok(listener.local_addr().map_err(at("127.0.0.1"))?.port())
}

struct Helm<'a> {
    bins: &'a Path,
    home: &'a Path,
}

/// What must not change of a healthy service.
type Identity = (Option<u32>, String, Option<(i64, i32)>);

impl Helm<'_> {
    fn ctl(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(self.bins.join("helmctl"));
        command.arg("--home").arg(self.home).args(words).stdin(Stdio::null());
        let output = command.output().map_err(at("helmctl"))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(()),
            code => Err(Error::Helmctl { what: words.join(" "), code: code.unwrap_or(-1), said }),
        }
    }

    fn watch(&self, healthy: &[String], others: &[String], time: Duration) -> Result<Figures> {
        self.ctl(&["daemon", "start"])?;
        if !others.is_empty() {
            let words = ["start", "--no-wait"].into_iter().chain(others.iter().map(String::as_str));
            self.ctl(&words.collect::<Vec<_>>())?;
            pause(Duration::from_secs(2));
        }
        let begin = Instant::now();
        self.ctl(&["start"].into_iter().chain(healthy.iter().map(String::as_str)).collect::<Vec<_>>())?;
        let start = begin.elapsed();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(at("tokio"))?;
        runtime.block_on(self.look(start, healthy, time))
    }

    /// Asks for the status of all again and again.
    async fn look(&self, start: Duration, healthy: &[String], time: Duration) -> Result<Figures> {
        let helm = |error: helm_client::ClientError| Error::Helm(error.to_string());
        let home = Home::find(Some(self.home)).map_err(|error| Error::Helm(error.to_string()))?;
        let mut client = Client::of(&home).await.map_err(helm)?;
        let mut first: BTreeMap<String, Identity> = BTreeMap::new();
        let mut touched: BTreeMap<String, bool> = BTreeMap::new();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        let (mut probes, mut calls) = (Vec::new(), Vec::new());
        let (mut restarts, mut trouble) = (0, String::new());
        let begin = Instant::now();
        while begin.elapsed() < time {
            let before = Instant::now();
            let answer = client.status(Vec::new()).await.map_err(helm)?;
            calls.push(before.elapsed().as_secs_f64() * 1e3);
            restarts = 0;
            let mut states: BTreeMap<(String, String), (usize, u32)> = BTreeMap::new();
            for service in answer.services {
                if !healthy.contains(&service.name) {
                    let kind = service.name.split('-').next().unwrap_or_default().to_owned();
                    let (count, again) = states.entry((kind, service.state)).or_default();
                    *count += 1;
                    *again += service.restarts;
                    continue;
                }
                restarts += service.restarts;
                if let Some(took) = service.health_latency_us
                    && newest.insert(service.name.clone(), took) != Some(took)
                {
                    probes.push(took as f64 / 1e3);
                }
                let started = service.started_at.map(|at| (at.seconds, at.nanos));
                let identity = (service.pid, service.run, started);
                let same = *first.entry(service.name.clone()).or_insert_with(|| identity.clone()) == identity;
                let well = service.ready && service.health == "healthy" && service.state == "running";
                *touched.entry(service.name).or_default() |= !same || !well;
            }
            let states = states.into_iter();
            let words =
                states.map(|((kind, state), (n, again))| format!("{n} {kind} {state} ({again} restarts)"));
            trouble = words.collect::<Vec<_>>().join(", ");
            // Nothing else runs on this runtime.
            pause(Duration::from_millis(10));
        }
        let touched = touched.into_values().filter(|touched| *touched).count();
        Ok(Figures { start, probes, calls, touched, restarts, trouble }).and_then(Figures::sorted)
    }
}

impl Figures {
    fn sorted(mut self) -> Result<Self> {
        self.probes.sort_by(f64::total_cmp);
        self.calls.sort_by(f64::total_cmp);
        match (self.probes.is_empty(), self.calls.is_empty()) {
            (false, false) => Ok(self),
            (true, _) => Err(Error::Nothing("no probe was answered")),
            (_, true) => Err(Error::Nothing("no call was answered")),
        }
    }
}

/// The value that `percent` of them are not above; they are sorted, and not empty.
fn share(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

fn table(options: &Options, alone: &Figures, beside: &Figures) -> String {
    let ms = |values: &[f64], percent| format!("{:.2} ms", share(values, percent));
    let row = |what: &str, of: &dyn Fn(&Figures) -> String| {
        format!("| {what} | {} | {} |\n", of(alone), of(beside))
    };
    let n = options.healthy;
    let mut said = format!("| {n} healthy services | alone | beside trouble |\n| --- | --- | --- |\n");
    said += &row("command to all ready", &|f| format!("{:.2} s", f.start.as_secs_f64()));
    said += &row("probe, p50", &|f| ms(&f.probes, 50));
    said += &row("probe, p99", &|f| ms(&f.probes, 99));
    said += &row("probes seen", &|f| f.probes.len().to_string());
    said += &row("status of all, p50", &|f| ms(&f.calls, 50));
    said += &row("status of all, p99", &|f| ms(&f.calls, 99));
    said += &row("restarts of healthy ones", &|f| f.restarts.to_string());
    said +=
        &row("same pid, run and start time, ready in every look", &|f| format!("{} of {n}", n - f.touched));
    said + &format!("\nThe trouble at the end: {}\n", beside.trouble)
}

#[allow(clippy::disallowed_methods, reason = "a bench measures over time; nothing is synchronised by it")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
