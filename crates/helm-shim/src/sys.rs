//! System calls that no safe crate wraps the way a keeper needs them. With `spawn` (fork), `peer` and nothing else,
//! this is where the `unsafe` of the workspace is.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use helm_core::exit::Exit;

/// A child that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Dead {
    /// Its pid. It has been reaped: the number may be somebody else's from now on.
    pub pid: u32,
    /// How it ended.
    pub exit: Exit,
    /// CPU time in user mode, of itself and of the children it waited for.
    pub user: Duration,
    /// CPU time in kernel mode.
    pub system: Duration,
    /// Largest resident set in bytes.
    pub max_rss: u64,
}

/// What `wait` found.
#[derive(Debug, Clone, Copy)]
pub enum Waited {
    /// This child has ended.
    Dead(Dead),
    /// There are children, all alive.
    Alive,
    /// There is no child: nothing is left below this process.
    None,
}

/// Takes one dead child away.
pub fn wait_any() -> Waited {
    let mut status = 0;
    // SAFETY: rusage is a plain C struct of integers; all zeros are a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live, writable values of the right type.
        let pid = unsafe { libc::wait4(-1, &mut status, libc::WNOHANG, &mut usage) };
        match pid {
            0 => return Waited::Alive,
            pid if pid > 0 => {
                return Waited::Dead(Dead {
                    pid: pid.unsigned_abs(),
                    exit: Exit::from_wait_status(status),
                    user: duration(usage.ru_utime),
                    system: duration(usage.ru_stime),
                    max_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
                });
            }
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // ECHILD is the only other answer that wait4 has for these arguments.
            _ => return Waited::None,
        }
    }
}

/// Has this process any child, dead or alive? Takes nothing away.
pub fn has_children() -> bool {
    // SAFETY: siginfo_t is a plain C struct, all zeros are valid, and it lives during the call.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) == 0
    }
}

/// Whether somebody tells the kernel the time (adjtimex(2): STA_UNSYNC). Changes nothing.
pub fn clock_is_told() -> io::Result<bool> {
    // SAFETY: timex is a plain C struct of integers; all zeros are a valid value, and say that nothing is to be set.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live, writable value of the right type.
    if unsafe { libc::adjtimex(&mut clock) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(clock.status & libc::STA_UNSYNC == 0)
}

fn duration(t: libc::timeval) -> Duration {
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_usec).unwrap_or(0) * 1000)
}

/// A signal to a process by its number: only for a child that has not been reaped, else the number may be stale.
pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return Err(io::ErrorKind::InvalidInput.into()) };
    if pid <= 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: takes integers only.
    check(unsafe { libc::kill(pid, signal) })
}

/// A signal through a pidfd.
pub fn pidfd_signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor lives during the call; a null siginfo is allowed (pidfd_send_signal(2)).
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), signal, none, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How the process of a pidfd ended (PIDFD_INFO_EXIT, Linux 6.15): known once it has been reaped, whoever did that.
pub fn pidfd_exit(pidfd: impl AsFd) -> Option<Exit> {
    // SAFETY: pidfd_info is a plain C struct of integers; all zeros are a valid value.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the ioctl writes at most the size that is encoded in its number, which is the size of `info`.
    let result = unsafe { libc::ioctl(pidfd.as_fd().as_raw_fd(), libc::PIDFD_GET_INFO, &mut info) };
    let known = result == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    known.then(|| Exit::from_wait_status(info.exit_code))
}

/// Turns SIGCHLD (of ends, not of stops) into a descriptor, and makes the keeper deaf to every signal that can be
/// ignored: a terminal's, a shutdown's or a full disk's signal must not cost a service its keeper.
pub fn signals() -> io::Result<OwnedFd> {
    let ignored = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGPIPE,
        libc::SIGALRM,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGXFSZ,
    ];
    // SAFETY: the sets and actions are plain C structs, initialised by the calls that take them before they are read;
    // SIG_IGN and SIG_DFL run no code of ours.
    unsafe {
        for signal in ignored {
            libc::signal(signal, libc::SIG_IGN);
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        action.sa_flags = libc::SA_NOCLDSTOP;
        check(libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut()))?;
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()))?;
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(fd)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Closes every descriptor from `first` on. Only for the begin of a process (and a forked child), where nobody owns
/// one: that is the caller's promise.
pub fn close_from(first: RawFd) {
    // SAFETY: closing is memory-safe; see the promise above for owned descriptors.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) != 0 {
            // Before Linux 5.9. The soft limit bounds what can be open.
            let end = match libc::sysconf(libc::_SC_OPEN_MAX) {
                n if n > 0 => RawFd::try_from(n.min(1 << 20)).unwrap_or(1 << 20),
                _ => 1 << 16,
            };
            for fd in first..end {
                libc::close(fd);
            }
        }
    }
}

/// Makes the allocator give large buffers back at once, whatever was freed before.
pub fn thrifty_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets parameters of the allocator; there is one thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_TOP_PAD, 16 << 10);
    }
}

/// Keeps the allocator to two heaps, however many threads there are, and makes it give large buffers back: each thread would have a heap of its
/// own, and what is free in one serves no other.
pub fn few_heaps() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets parameters of the allocator; there is one thread.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
    }
}

/// Lowest CPU and disk priority, for a compressor.
pub fn idle_priority() {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    const IOPRIO_CLASS_IDLE: i32 = 3 << 13;
    // SAFETY: both take integers only. That they fail is no harm.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
        libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE);
    }
}

/// `Err(errno)` for a negative result.
pub fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the number `target` (0, 1 or 2) refer to what `fd` refers to.
pub fn redirect(fd: impl AsFd, target: RawFd) -> io::Result<()> {
    // SAFETY: the standard numbers are owned by nobody; replacing what they refer to is memory-safe.
    check(unsafe { libc::dup2(fd.as_fd().as_raw_fd(), target) })
}

/// Takes over a descriptor that a former program of this process, or systemd, left open under this number. It is not left to children.
/// Called once for each number, before anything else is opened: then nobody else in this process owns it.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only; it fails where nothing is open under that number.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and the former program, which owned it, is gone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes descriptor 0 if it is a socket: the connection that helmd gives to a new keeper.
pub fn socket_at_stdin() -> Option<OwnedFd> {
    // SAFETY: stat is a plain C struct, all zeros are valid; fcntl makes a new descriptor, which nobody else owns.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        if libc::fstat(0, &mut stat) != 0 || stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
            return None;
        }
        let fd = libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd))
    }
}
