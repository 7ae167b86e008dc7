//! Lines that were read, as entries of the store.

use helm_core::spec::{LineRule, LogRules};
use helm_lines::{Body, Flags, Rule};
use helm_store::entry::{Level, NewEntry, Source, flag};

/// How the lines of a service are read. A pattern that cannot be compiled was reported when the configuration was read; its lines are read by
/// themselves.
pub fn rule(log: &LogRules) -> Rule {
    if let Some(pattern) = &log.pattern {
        return Rule::pattern(pattern).unwrap_or_default();
    }
    match log.rule {
        LineRule::Auto => Rule::Auto,
        LineRule::Json => Rule::Json,
        LineRule::Logfmt => Rule::Logfmt,
        LineRule::Python => Rule::Python,
        LineRule::Java => Rule::Java,
        LineRule::Syslog => Rule::Syslog,
        LineRule::Plain => Rule::Plain,
        LineRule::None => Rule::None,
    }
}

/// A captured entry. `stream`: 0 stdout, 1 stderr.
pub fn captured(service: &str, stream: u8, body: Body) -> NewEntry {
    NewEntry { stream: stream + 1, ..of(service, body, Source::Captured) }
}

/// A body with the name of its service.
pub fn of(service: &str, body: Body, source: Source) -> NewEntry {
    NewEntry {
        service: service.to_owned(),
        at: body.source_time.unwrap_or(body.capture_time),
        seen: body.capture_time,
        level: level(body.level),
        source,
        stream: 0,
        flags: flags(body.flags),
        message: body.message,
        plain: body.plain,
        context: body.context,
        trace: body.trace_id,
        user: body.user_id,
        hostname: None,
        process: None,
    }
}

/// The store knows the seed's five levels.
pub fn level(level: helm_lines::Level) -> Level {
    match level {
        helm_lines::Level::Trace | helm_lines::Level::Debug => Level::Debug,
        helm_lines::Level::Info => Level::Info,
        helm_lines::Level::Warning => Level::Warning,
        helm_lines::Level::Error => Level::Error,
        helm_lines::Level::Critical => Level::Critical,
    }
}

fn flags(read: Flags) -> u32 {
    let bit = |on: bool, flag: u32| if on { flag } else { 0 };
    bit(read.truncated, flag::TRUNCATED)
        | bit(read.multiline, flag::MULTILINE)
        | bit(read.continued, flag::CONTINUED)
        | bit(read.future_time, flag::FUTURE)
        | bit(read.invalid_utf8, flag::INVALID_UTF8)
}
