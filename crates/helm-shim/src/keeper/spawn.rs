//! fork, and what the child does until exec. Nothing is allocated or locked in the child: all is prepared before.
#![allow(unsafe_code)]

use std::ffi::{CString, NulError};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use helm_shim::sys;
use helm_shim::wire::StartOrder;
use rustix::pipe::{PipeFlags, pipe_with};

/// Where the child stood when it failed: the numbers on the exec pipe.
const STAGES: [&str; 8] = ["session", "cgroup", "pipe", "rlimit", "chdir", "gate", "exec", "listen"];
const SESSION: u8 = 0;
const CGROUP: u8 = 1;
const PIPE: u8 = 2;
const RLIMIT: u8 = 3;
const CHDIR: u8 = 4;
const GATE: u8 = 5;
const EXEC: u8 = 6;
const LISTEN: u8 = 7;

/// Here the sockets begin that are handed over (SD_LISTEN_FDS_START of sd_listen_fds(3)). Behind them lie the gate and the exec pipe;
/// everything above is closed.
const SOCKETS_FD: RawFd = 3;
/// Descriptors that are moved begin here, so that no move overwrites another one: there are at most 8 sockets.
const HIGH: RawFd = 32;
/// Of the variable that only the child can write, because it holds its pid.
const LISTEN_PID: &[u8] = b"LISTEN_PID=";

/// What tells of sockets that are handed over (sd_listen_fds(3)).
const HANDED_OVER: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// Everything that the child needs, in the form in which the kernel takes it.
pub(crate) struct Prepared {
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    pipes: [CString; 2],
    /// What is handed over, in this order.
    sockets: Vec<OwnedFd>,
    rlimits: Vec<(i32, u64)>,
    soft_rlimits: Vec<(i32, u64)>,
    /// `cgroup.procs` of the leaf, open for writing.
    cgroup: Option<OwnedFd>,
    /// /proc/self/oom_score_adj as it was before the keeper changed its own.
    oom: Option<Vec<u8>>,
    umask: u32,
}

/// A child at its gate.
pub(crate) struct Waiting {
    pub(crate) pid: u32,
    gate: OwnedFd,
    /// End of file: exec has succeeded. Five bytes: where it failed, and errno.
    pub(crate) exec: OwnedFd,
}

impl Waiting {
    /// Lets it run.
    pub(crate) fn open_gate(self) -> io::Result<OwnedFd> {
        rustix::io::write(&self.gate, b"!")?;
        Ok(self.exec)
    }
}

/// What the exec pipe says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecResult {
    Done,
    Failed { stage: &'static str, errno: i32 },
    Unknown,
}

/// Reads the exec pipe (not blocking).
pub(crate) fn exec_result(exec: &OwnedFd) -> ExecResult {
    let mut bytes = [0; 5];
    match rustix::io::read(exec, &mut bytes) {
        Ok(0) => ExecResult::Done,
        Ok(_) => {
            let [stage, errno @ ..] = bytes;
            let stage = STAGES.get(usize::from(stage)).copied().unwrap_or("exec");
            ExecResult::Failed { stage, errno: i32::from_ne_bytes(errno) }
        }
        Err(_) => ExecResult::Unknown,
    }
}

impl Prepared {
    /// Puts an order into C strings.
    pub(crate) fn new(
        order: &StartOrder,
        extra_env: &[(&str, String)],
        pipes: [&Path; 2],
        sockets: Vec<OwnedFd>,
        cgroup: Option<OwnedFd>,
        oom: Option<Vec<u8>>,
        umask: u32,
    ) -> Result<Self, NulError> {
        let text = |s: &str| CString::new(s);
        let path = |p: &Path| CString::new(p.as_os_str().as_bytes());
        // Who gets no sockets is not told of anybody else's.
        let replaced =
            |name: &str| HANDED_OVER.contains(&name) || extra_env.iter().any(|(extra, _)| *extra == name);
        let given = order.env.iter().filter(|(name, _)| !replaced(name));
        Ok(Self {
            argv: order.argv.iter().map(|a| text(a)).collect::<Result<_, _>>()?,
            env: given
                .map(|(name, value)| text(&format!("{name}={value}")))
                .chain(extra_env.iter().map(|(name, value)| text(&format!("{name}={value}"))))
                .collect::<Result<_, _>>()?,
            cwd: text(&order.cwd)?,
            pipes: [path(pipes[0])?, path(pipes[1])?],
            sockets,
            rlimits: order.rlimits.clone(),
            soft_rlimits: order.soft_rlimits.clone(),
            cgroup,
            oom,
            umask,
        })
    }

    /// Forks a child that waits at its gate.
    pub(crate) fn fork(&self) -> io::Result<Waiting> {
        let (gate_read, gate) = pipe_with(PipeFlags::CLOEXEC)?;
        let (exec, exec_write) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&exec, true)?;
        // High numbers, so that moving them to theirs never overwrites the other one.
        let high = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, HIGH);
        let (gate_read, exec_write) = (high(&gate_read)?, high(&exec_write)?);
        let sockets = self.sockets.iter().map(high).collect::<Result<Vec<_>, _>>()?;
        let sockets: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (argv, mut env) = (pointers(&self.argv), pointers(&self.env));
        if !sockets.is_empty() {
            // Overwritten in the child.
            env.insert(0, c"LISTEN_PID=0".as_ptr());
        }
        // SAFETY: the keeper has one thread, so the child is a whole copy of it; it calls nothing but system calls on
        // memory that was prepared above, and ends in exec or _exit.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let pipes = [gate_read.as_raw_fd(), exec_write.as_raw_fd()];
                // SAFETY: see `child`: `argv` and `env` end with a null pointer and point into `self`.
                let (stage, errno) = unsafe { self.child(&argv, &mut env, &sockets, pipes) };
                let mut bytes = [stage, 0, 0, 0, 0];
                bytes[1..].copy_from_slice(&errno.to_ne_bytes());
                // SAFETY: writes five live bytes; _exit runs nothing of the keeper's.
                unsafe {
                    libc::write(self.exec_fd(), bytes.as_ptr().cast(), bytes.len());
                    libc::_exit(127)
                }
            }
            pid => Ok(Waiting { pid: pid.unsigned_abs(), gate, exec }),
        }
    }

    /// Where the gate lies in the child, behind the sockets.
    fn gate_fd(&self) -> RawFd {
        // There are at most eight.
        SOCKETS_FD + RawFd::try_from(self.sockets.len()).unwrap_or(0)
    }

    /// Where the exec pipe lies in the child.
    fn exec_fd(&self) -> RawFd {
        self.gate_fd() + 1
    }

    /// The child until exec. Returns where it failed, and errno.
    ///
    /// # Safety
    /// Only in a forked child. `argv` and `env` are lists of C strings that end with a null pointer; where there are `sockets`, the first of
    /// `env` is to be overwritten.
    unsafe fn child(
        &self,
        argv: &[*const libc::c_char],
        env: &mut [*const libc::c_char],
        sockets: &[RawFd],
        [gate, exec]: [RawFd; 2],
    ) -> (u8, i32) {
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(0);
        let (gate_fd, exec_fd) = (self.gate_fd(), self.exec_fd());
        let listen_pid = listen_pid();
        if let (Some(first), false) = (env.first_mut(), sockets.is_empty()) {
            *first = listen_pid.as_ptr().cast();
        }
        // SAFETY: system calls on prepared memory and on our own descriptors.
        unsafe {
            let cgroup = self.cgroup.as_ref().map(AsRawFd::as_raw_fd);
            if cgroup.is_some_and(|fd| libc::write(fd, c"0".as_ptr().cast(), 1) != 1) {
                let failed = errno();
                libc::dup3(exec, exec_fd, libc::O_CLOEXEC);
                return (CGROUP, failed);
            }
            if libc::dup3(gate, gate_fd, libc::O_CLOEXEC) < 0
                || libc::dup3(exec, exec_fd, libc::O_CLOEXEC) < 0
            {
                return (GATE, errno());
            }
            for (target, socket) in (SOCKETS_FD..).zip(sockets) {
                // Without FD_CLOEXEC: it is the service's.
                if libc::dup2(*socket, target) < 0 {
                    return (LISTEN, errno());
                }
            }
            sys::close_from(exec_fd + 1);
            if libc::setsid() < 0 {
                return (SESSION, errno());
            }
            if !self.standard_streams() {
                return (PIPE, errno());
            }
            if !self.limits() {
                return (RLIMIT, errno());
            }
            if libc::chdir(self.cwd.as_ptr()) < 0 {
                return (CHDIR, errno());
            }
            default_signals();
            libc::umask(self.umask);
            let mut byte = 0u8;
            loop {
                match libc::read(gate_fd, (&raw mut byte).cast(), 1) {
                    1 => break,
                    // The keeper is dead: nobody knows of this process, so it must not become a service.
                    0 => libc::_exit(126),
                    _ if *libc::__errno_location() == libc::EINTR => {}
                    _ => return (GATE, errno()),
                }
            }
            libc::execve(argv[0], argv.as_ptr(), env.as_ptr());
            (EXEC, errno())
        }
    }

    /// stdin is /dev/null; stdout and stderr are the pipes, open for reading and writing: the service itself keeps them
    /// alive, so that no reader's death is a SIGPIPE.
    ///
    /// # Safety
    /// Only in a forked child.
    unsafe fn standard_streams(&self) -> bool {
        // SAFETY: the paths are C strings; the numbers that are replaced are 0, 1 and 2.
        unsafe {
            let opens = [
                (c"/dev/null".as_ptr(), libc::O_RDONLY),
                (self.pipes[0].as_ptr(), libc::O_RDWR),
                (self.pipes[1].as_ptr(), libc::O_RDWR),
            ];
            for (target, (path, flags)) in (0..).zip(opens) {
                let fd = libc::open(path, flags);
                if fd < 0 || libc::dup2(fd, target) < 0 {
                    return false;
                }
                if fd > 2 {
                    libc::close(fd);
                }
            }
        }
        true
    }

    /// # Safety
    /// Only in a forked child.
    unsafe fn limits(&self) -> bool {
        // SAFETY: rlimit is a plain struct that lives during the call; the path is a C string, the text lives in `self`.
        unsafe {
            for (resource, value) in &self.rlimits {
                let limit = libc::rlimit { rlim_cur: *value, rlim_max: *value };
                if libc::setrlimit(number(*resource), &limit) < 0 {
                    return false;
                }
            }
            for (resource, value) in &self.soft_rlimits {
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                if libc::getrlimit(number(*resource), &mut limit) < 0 {
                    return false;
                }
                limit.rlim_cur = (*value).min(limit.rlim_max);
                if libc::setrlimit(number(*resource), &limit) < 0 {
                    return false;
                }
            }
            if let Some(text) = &self.oom {
                let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if fd >= 0 {
                    libc::write(fd, text.as_ptr().cast(), text.len());
                    libc::close(fd);
                }
            }
        }
        true
    }
}

/// `LISTEN_PID=` with the pid of this process, as a C string. Allocates nothing.
fn listen_pid() -> [u8; 32] {
    let mut text = [0; 32];
    text[..LISTEN_PID.len()].copy_from_slice(LISTEN_PID);
    let (mut pid, mut digits, mut many) = (std::process::id(), [0; 10], 0);
    loop {
        // A digit is below ten.
        digits[many] = b'0' + (pid % 10) as u8;
        many += 1;
        pid /= 10;
        if pid == 0 {
            break;
        }
    }
    for (at, digit) in (LISTEN_PID.len()..).zip(digits[..many].iter().rev()) {
        text[at] = *digit;
    }
    text
}

/// The number of a limit, of the type that this C library has for it.
#[cfg(target_env = "gnu")]
fn number(resource: i32) -> u32 {
    resource.unsigned_abs()
}
#[cfg(not(target_env = "gnu"))]
fn number(resource: i32) -> i32 {
    resource
}

/// Every signal as a new process has it.
///
/// # Safety
/// Only in a forked child.
unsafe fn default_signals() {
    // The kernel's sigaction of all zeros is SIG_DFL. By the bare call, because libc refuses its own signals 32 and 33,
    // which a careless ancestor may have ignored for us all.
    let default = [0u64; 4];
    // SAFETY: the kernel reads four words that live; SIG_DFL runs no code of ours; the set is initialised before it is
    // read.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}
