//! A program in a terminal of its own: a real pseudo-terminal, and what a person would see on it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::procs::Process;
use crate::wait::eventually;

/// A terminal and the program in it.
#[derive(Debug)]
pub struct Terminal {
    /// The side of whoever looks and types.
    hand: File,
    /// Kept open: what the program left on the terminal stays readable when it is gone.
    line: OwnedFd,
    screen: Arc<Mutex<Screen>>,
    child: Child,
}

struct Screen(vt100::Parser);

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.screen().contents())
    }
}

impl Terminal {
    /// Runs a program in a terminal of this size.
    #[track_caller]
    pub fn run(mut command: Command, columns: u16, rows: u16) -> Self {
        let open =
            |result: rustix::io::Result<OwnedFd>| result.unwrap_or_else(|e| panic!("no terminal: {e}"));
        let hand = open(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC));
        let named = grantpt(&hand).and_then(|()| unlockpt(&hand)).and_then(|()| ptsname(&hand, Vec::new()));
        let name = named.unwrap_or_else(|e| panic!("no terminal: {e}"));
        let name = std::ffi::OsString::from_vec(name.into_bytes());
        let line =
            open(rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()));
        size(&line, columns, rows);
        let end = || line.try_clone().unwrap_or_else(|e| panic!("no terminal: {e}"));
        command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let screen = Arc::new(Mutex::new(Screen(vt100::Parser::new(rows, columns, 0))));
        let hand = File::from(hand);
        let (mut read, shown) =
            (hand.try_clone().unwrap_or_else(|e| panic!("no terminal: {e}")), Arc::clone(&screen));
        // Ends with the terminal.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = read.read(&mut buffer) {
                shown.lock().unwrap_or_else(PoisonError::into_inner).0.process(&buffer[..count]);
            }
        });
        Self { hand, line, screen, child }
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be read now.
    pub fn text(&self) -> String {
        self.screen().0.screen().contents()
    }

    /// Types.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        self.hand.write_all(keys.as_bytes()).unwrap_or_else(|e| panic!("{keys:?}: {e}"));
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn until(&self, what: &str, fact: impl Fn(&str) -> bool) {
        eventually(what, || {
            let text = self.text();
            if fact(&text) { Ok(()) } else { Err(text) }
        });
    }

    /// Gives the window another size, and tells the program as the terminal would: it is not the one that controls us.
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        size(&self.line, columns, rows);
        self.screen().0.screen_mut().set_size(rows, columns);
        self.signal(Signal::WINCH);
    }

    /// Sends the program a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = Process::of(self.child.id()) {
            process.signal(signal);
        }
    }

    /// Its exit code, once it has ended; 128 + n for signal n.
    #[track_caller]
    pub fn ended(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = eventually("the program in the terminal ends", || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => Err(self.text()),
        });
        status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(-1)
    }

    /// The terminal is as a shell wants it: lines, echo, its own screen, a cursor, a mouse that is the terminal's.
    #[track_caller]
    pub fn until_given_back(&self) {
        eventually("the terminal is given back", || {
            let modes = tcgetattr(&self.line).map_err(|e| e.to_string())?.local_modes;
            let guard = self.screen();
            let screen = guard.0.screen();
            let back = modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
                && !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None;
            if back { Ok(()) } else { Err(format!("{modes:?}\n{}", screen.contents())) }
        });
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn size(line: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(line, size).unwrap_or_else(|e| panic!("{columns}x{rows}: {e}"));
}
