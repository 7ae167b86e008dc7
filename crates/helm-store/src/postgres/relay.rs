//! A hop within this process, for the writer's connection over TCP: a private socket on this side, TCP without Nagle's algorithm on the other.
//!
//! sqlx 0.9.0 leaves Nagle's algorithm on (github.com/launchbadge/sqlx issue 4335; 0.8 turned it off, and so will the release after 0.9.0: this
//! module goes then). The end of a COPY is a small message behind its data: it would wait for the server's delayed acknowledgement, 40 ms a
//! commit. Encryption is between sqlx and the server as ever: bytes are passed on as they are.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpStream, UnixListener};
use tokio::task::JoinHandle;

/// Buffers: towards the server (a batch of entries), and back.
const SIZES: (usize, usize) = (256 << 10, 32 << 10);

/// Passes the bytes of one connection on, as long as this value lives.
#[derive(Debug)]
pub(super) struct Relay {
    directory: PathBuf,
    task: JoinHandle<()>,
}

impl Relay {
    /// Leads to `server`, which is connected already. One client can come, to the socket that PostgreSQL's clients look for in
    /// [`Relay::directory`].
    pub(super) fn to(mut server: TcpStream, port: u16) -> io::Result<Relay> {
        server.set_nodelay(true)?;
        let directory = private_directory()?;
        let listener = UnixListener::bind(directory.join(format!(".s.PGSQL.{port}")));
        let listener = listener.inspect_err(|_| clear(&directory))?;
        let task = tokio::spawn(async move {
            if let Ok((mut client, _)) = listener.accept().await {
                drop(listener);
                // Either side's end is the other's; what went wrong, the client sees by it.
                copy_bidirectional_with_sizes(&mut client, &mut server, SIZES.0, SIZES.1).await.ok();
            }
        });
        Ok(Relay { directory, task })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Nobody else is to come: the socket's file goes.
    pub(super) fn close_door(&self) {
        clear(&self.directory);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
        clear(&self.directory);
    }
}

/// Only this user may enter: whoever else could connect would still need the password.
fn private_directory() -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("helm-{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            // Left over from a process that had this number before.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < u32::MAX => {}
            made => return made.map(|()| path),
        }
    }
}

fn clear(directory: &Path) {
    // It may be gone already.
    std::fs::remove_dir_all(directory).ok();
}
