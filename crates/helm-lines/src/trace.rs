//! Stack traces: which lines begin one, and which go on with it.
//!
//! Decided by the line and by what came before it, never by time. A trace is an error by its form, whatever words are in it.

use crate::level::Level;

/// Lines between the source line that Node prints and the first frame.
const NODE_LINES: u8 = 8;

/// Where in a trace its last line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// No trace; frames may still follow.
    No,
    /// `Exception in thread ...`: Java's own line, or Python's before its traceback.
    Intro,
    /// Python: between `Traceback` and the exception.
    Python,
    /// Python: behind the exception; another may follow.
    PythonEnd,
    /// Python: the blank line behind an exception, or behind `During handling of ...`.
    PythonBlank,
    /// Java, or Node: `package.SomeException: text`, no frame yet.
    Named,
    /// Java, Node: frames.
    Frames,
    /// Node: a place in a source file, then its lines.
    NodeSource(u8),
    /// Node: frames of an error that ended the process; its last words follow.
    NodeFrames,
    /// Rust: `thread 'main' panicked at src/main.rs:1:2:`; the message follows.
    RustHead,
    /// Rust: behind the message.
    Rust,
    /// Go: `panic: text`.
    GoHead,
    /// Go: goroutines.
    Go,
    /// Go: a blank line.
    GoBlank,
}

use Trace::{
    Frames, Go, GoBlank, GoHead, Intro, Named, No, NodeFrames, NodeSource, Python, PythonBlank, PythonEnd,
    Rust, RustHead,
};

impl Trace {
    /// What this line begins, without looking at any other.
    pub(crate) fn begin(line: &str) -> Option<Trace> {
        let first = *line.as_bytes().first()?;
        match first {
            b' ' | b'\t' => {
                let inner = line.trim_start();
                if is_frame(line) {
                    return Some(Frames);
                }
                inner
                    .starts_with("Traceback (most recent call last):")
                    .then_some(Python)
                    .or_else(|| (inner.starts_with("+ Exception Group Traceback")).then_some(Python))
            }
            b'T' if line.starts_with("Traceback (most recent call last):") => Some(Python),
            b'E' if line.starts_with("Exception in thread ") || line.starts_with("Exception ignored in") => {
                Some(Intro)
            }
            b'C' if line.starts_with("Caused by: ") => Some(Frames),
            b't' if is_rust(line) => Some(if line.ends_with(':') { RustHead } else { Rust }),
            b'p' if line.starts_with("panic: ") => Some(GoHead),
            b'f' if line.starts_with("fatal error: ") => Some(GoHead),
            b'g' if is_goroutine(line) => Some(Go),
            _ if is_source_place(line) => Some(NodeSource(NODE_LINES)),
            _ => is_exception(line).then_some(Named),
        }
    }

    /// Where the trace is after `line`, if `line` belongs to it.
    pub(crate) fn follow(self, line: &str) -> Option<Trace> {
        let indented = line.starts_with([' ', '\t']);
        match self {
            No => (is_frame(line) || line.starts_with("Caused by: ")).then_some(Frames),
            Intro if line.starts_with("Traceback (most recent call last):") => Some(Python),
            Intro | Named => (is_frame(line) || line.starts_with("Caused by: ")).then_some(Frames),
            Frames => (indented || line == "}" || line.starts_with("Caused by: ")).then_some(Frames),
            Python if indented || line.is_empty() => Some(Python),
            Python => is_final(line).then_some(PythonEnd),
            PythonEnd if line.is_empty() => Some(PythonBlank),
            PythonEnd => indented.then_some(PythonEnd),
            PythonBlank if line.is_empty() || is_chain(line) => Some(PythonBlank),
            PythonBlank => line.starts_with("Traceback (most recent call last):").then_some(Python),
            NodeSource(_) if is_frame(line) => Some(NodeFrames),
            NodeSource(left) => Some(NodeSource(left.checked_sub(1)?)),
            NodeFrames => (indented || line.is_empty() || line == "}" || line.starts_with("Node.js v"))
                .then_some(NodeFrames),
            RustHead => Some(Rust),
            Rust => {
                let goes_on = indented
                    || line.starts_with("stack backtrace:")
                    || line.starts_with("note: run with `RUST_BACKTRACE")
                    || line.starts_with("note: Some details are omitted");
                goes_on.then_some(Rust)
            }
            GoHead
                if line.is_empty()
                    || indented
                    || line.starts_with("[signal ")
                    || line.starts_with("panic: ") =>
            {
                Some(GoHead)
            }
            GoHead | GoBlank if is_goroutine(line) || line == "runtime stack:" => Some(Go),
            GoHead => None,
            GoBlank => {
                (line.is_empty() || line.starts_with("exit status ") || is_register(line)).then_some(GoBlank)
            }
            Go if line.is_empty() => Some(GoBlank),
            Go => {
                let call = line.ends_with(')') && memchr::memchr(b'(', line.as_bytes()).is_some();
                let goes_on = indented || call || line.starts_with("created by ") || line.starts_with("...");
                (goes_on || is_goroutine(line)).then_some(Go)
            }
        }
    }

    /// What the form of a trace says about its level; nothing as long as it may be a sentence.
    pub(crate) fn level(self) -> Option<Level> {
        match self {
            Go | GoBlank => Some(Level::Critical),
            Python | PythonEnd | PythonBlank | Frames | NodeFrames | RustHead | Rust => Some(Level::Error),
            No | Intro | Named | NodeSource(_) | GoHead => None,
        }
    }
}

/// `\tat com.example.Web.get(Web.java:12)`, `    at get (/app/web.js:1:2)`, `\t... 12 more`.
fn is_frame(line: &str) -> bool {
    let inner = line.trim_start_matches([' ', '\t']);
    if inner.len() == line.len() {
        return false;
    }
    let at = inner.strip_prefix("at ").is_some_and(|place| {
        place.ends_with(')') || place.contains(':') || place.ends_with('{') || place.starts_with("async ")
    });
    at || (inner.starts_with("... ")
        && (inner.ends_with(" more") || inner.ends_with("common frames omitted")))
        || inner.starts_with("Suppressed: ")
}

/// `java.lang.IllegalStateException: text`, `TypeError: text`: a name that ends as those of exceptions do.
fn is_exception(line: &str) -> bool {
    let name = match memchr::memchr(b':', line.as_bytes()) {
        Some(end) if line.as_bytes().get(end + 1).is_none_or(|b| *b == b' ') => &line[..end],
        None => line,
        Some(_) => return false,
    };
    let name = name.strip_prefix("Uncaught ").unwrap_or(name);
    let typed = ["Exception", "Error", "Throwable"].iter().any(|end| name.ends_with(end));
    // A bare `Error` is an ordinary word; Node's frames show what it was.
    typed && name.len() <= 200 && is_dotted(name)
}

/// The line that ends a Python traceback: `ValueError: text`, `pkg.Error`, `KeyboardInterrupt`.
fn is_final(line: &str) -> bool {
    let end = memchr::memchr(b':', line.as_bytes()).unwrap_or(line.len());
    is_dotted(&line[..end])
}

fn is_dotted(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '<' | '>'))
}

fn is_chain(line: &str) -> bool {
    line == "During handling of the above exception, another exception occurred:"
        || line == "The above exception was the direct cause of the following exception:"
}

/// `thread 'main' panicked at src/main.rs:4:5:`, `thread 'main' (12) panicked at ...`, `thread '<unnamed>' panicked at 'text', ...`.
fn is_rust(line: &str) -> bool {
    line.strip_prefix("thread '")
        .and_then(|rest| rest.split_once('\'').map(|(_, rest)| rest))
        .is_some_and(|rest| rest.split_once("panicked at ").is_some_and(|(id, _)| id.len() <= 24))
}

/// `goroutine 1 [running]:`
fn is_goroutine(line: &str) -> bool {
    line.strip_prefix("goroutine ")
        .is_some_and(|rest| rest.ends_with("]:") && rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// `rax    0x0`: the registers behind a crash of Go.
fn is_register(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    words.next().is_some_and(|name| name.len() <= 6)
        && words.next().is_some_and(|value| value.starts_with("0x"))
        && words.next().is_none()
}

/// `/app/web.js:12`, `node:internal/modules/cjs/loader:1`, `file:///app/web.mjs:3`.
fn is_source_place(line: &str) -> bool {
    let Some((file, number)) = line.rsplit_once(':') else { return false };
    let path = file.starts_with('/') || file.starts_with("node:") || file.starts_with("file://");
    path && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && !file.contains(' ')
        && (file.starts_with("node:")
            || [".js", ".mjs", ".cjs", ".ts", ".mts"].iter().any(|end| file.ends_with(end)))
}
