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
const STAGES: [&str; 7] = ["session", "cgroup", "pipe", "rlimit", "chdir", "gate", "exec"];
const SESSION: u8 = 0;
const CGROUP: u8 = 1;
const PIPE: u8 = 2;
const RLIMIT: u8 = 3;
const CHDIR: u8 = 4;
const GATE: u8 = 5;
const EXEC: u8 = 6;

/// The gate and the exec pipe lie here in the child; everything above is closed.
const GATE_FD: RawFd = 3;
const EXEC_FD: RawFd = 4;

/// Everything that the child needs, in the form in which the kernel takes it.
pub(crate) struct Prepared {
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    pipes: [CString; 2],
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
        cgroup: Option<OwnedFd>,
        oom: Option<Vec<u8>>,
        umask: u32,
    ) -> Result<Self, NulError> {
        let text = |s: &str| CString::new(s);
        let path = |p: &Path| CString::new(p.as_os_str().as_bytes());
        let given = order.env.iter().filter(|(name, _)| extra_env.iter().all(|(extra, _)| extra != name));
        Ok(Self {
            argv: order.argv.iter().map(|a| text(a)).collect::<Result<_, _>>()?,
            env: given
                .map(|(name, value)| text(&format!("{name}={value}")))
                .chain(extra_env.iter().map(|(name, value)| text(&format!("{name}={value}"))))
                .collect::<Result<_, _>>()?,
            cwd: text(&order.cwd)?,
            pipes: [path(pipes[0])?, path(pipes[1])?],
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
        let gate_read = rustix::io::fcntl_dupfd_cloexec(&gate_read, 10)?;
        let exec_write = rustix::io::fcntl_dupfd_cloexec(&exec_write, 10)?;
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (argv, env) = (pointers(&self.argv), pointers(&self.env));
        // SAFETY: the keeper has one thread, so the child is a whole copy of it; it calls nothing but system calls on
        // memory that was prepared above, and ends in exec or _exit.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: see `child`: `argv` and `env` end with a null pointer and point into `self`.
                let (stage, errno) =
                    unsafe { self.child(&argv, &env, gate_read.as_raw_fd(), exec_write.as_raw_fd()) };
                let mut bytes = [stage, 0, 0, 0, 0];
                bytes[1..].copy_from_slice(&errno.to_ne_bytes());
                // SAFETY: writes five live bytes; _exit runs nothing of the keeper's.
                unsafe {
                    libc::write(EXEC_FD, bytes.as_ptr().cast(), bytes.len());
                    libc::_exit(127)
                }
            }
            pid => Ok(Waiting { pid: pid.unsigned_abs(), gate, exec }),
        }
    }

    /// The child until exec. Returns where it failed, and errno.
    ///
    /// # Safety
    /// Only in a forked child. `argv` and `env` are lists of C strings that end with a null pointer.
    unsafe fn child(
        &self,
        argv: &[*const libc::c_char],
        env: &[*const libc::c_char],
        gate: RawFd,
        exec: RawFd,
    ) -> (u8, i32) {
        let errno = || io::Error::last_os_error().raw_os_error().unwrap_or(0);
        // SAFETY: system calls on prepared memory and on our own descriptors.
        unsafe {
            let cgroup = self.cgroup.as_ref().map(AsRawFd::as_raw_fd);
            if cgroup.is_some_and(|fd| libc::write(fd, c"0".as_ptr().cast(), 1) != 1) {
                let failed = errno();
                libc::dup3(exec, EXEC_FD, libc::O_CLOEXEC);
                return (CGROUP, failed);
            }
            if libc::dup3(gate, GATE_FD, libc::O_CLOEXEC) < 0
                || libc::dup3(exec, EXEC_FD, libc::O_CLOEXEC) < 0
            {
                return (GATE, errno());
            }
            sys::close_from(EXEC_FD + 1);
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
                match libc::read(GATE_FD, (&raw mut byte).cast(), 1) {
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
