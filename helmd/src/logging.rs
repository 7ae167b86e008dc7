//! helmd's own log: `logs/helmd.log`, rotated by size; errors before it is open go to stderr.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::home::Home;

/// The log is rotated (one former file is kept) beyond this many bytes.
const BYTES: u64 = 16 << 20;

/// Opens the log. `HELM_LOG` sets the level (`debug`, `helmd=trace`).
pub fn init(home: &Home, foreground: bool) -> io::Result<()> {
    let filter = EnvFilter::try_from_env("HELM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false);
    let set = if foreground {
        builder.with_writer(io::stderr).try_init()
    } else {
        let file = Rotated::open(home.logs().join("helmd.log"))?;
        builder.with_ansi(false).with_writer(Shared(Arc::new(Mutex::new(file)))).try_init()
    };
    set.map_err(io::Error::other)
}

/// Says `ready` to whoever started us, then lets go of its terminal: helmd must not die or block with it.
pub fn announce_ready(foreground: bool) {
    let mut out = io::stdout();
    let _ = writeln!(out, "ready");
    let _ = out.flush();
    if foreground {
        return;
    }
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

#[derive(Debug)]
struct Rotated {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Rotated {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size })
    }
}

impl Write for Rotated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.size > BYTES {
            fs::rename(&self.path, self.path.with_extension("log.1"))?;
            *self = Self::open(self.path.clone())?;
        }
        let n = self.file.write(bytes)?;
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Rotated>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Shared {
    type Writer = Shared;
    fn make_writer(&'a self) -> Shared {
        self.clone()
    }
}
