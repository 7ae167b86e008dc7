//! How the lines of a service are to be read: found out per line, named, or described by a pattern.

use regex::{Regex, RegexBuilder};

/// Names of the rules that need no pattern.
const NAMES: [(&str, Rule); 8] = [
    ("auto", Rule::Auto),
    ("json", Rule::Json),
    ("logfmt", Rule::Logfmt),
    ("python", Rule::Python),
    ("java", Rule::Java),
    ("syslog", Rule::Syslog),
    ("plain", Rule::Plain),
    ("none", Rule::None),
];

/// Largest compiled pattern in bytes.
const PATTERN_BYTES: usize = 1 << 20;

/// How lines are read.
#[derive(Debug, Clone, Default)]
pub enum Rule {
    /// By each line itself.
    #[default]
    Auto,
    /// JSON objects; other lines are plain text.
    Json,
    /// `key=value` pairs, bare keys allowed; other lines are plain text.
    Logfmt,
    /// Text with a head as Python's logging, gunicorn and loguru write it. A line without a head belongs to the entry before.
    Python,
    /// Text with a head as logback, log4j and Quarkus write it. A line without a head belongs to the entry before.
    Java,
    /// Syslog and sd-daemon prefixes; the rest of the line is the message.
    Syslog,
    /// Nothing is read from a line; stack traces are joined.
    Plain,
    /// Each line is an entry, as it is.
    None,
    /// By a pattern of the operator's. A line that does not match belongs to the entry before.
    Regex(Pattern),
}

impl Rule {
    /// The rule of this name.
    pub fn named(name: &str) -> Result<Rule, RuleError> {
        let found = NAMES.into_iter().find(|(n, _)| *n == name);
        found.map(|(_, rule)| rule).ok_or_else(|| RuleError::Unknown(name.to_owned()))
    }

    /// The rule of this pattern: a regular expression with a named group for each field.
    pub fn pattern(pattern: &str) -> Result<Rule, RuleError> {
        let regex = RegexBuilder::new(pattern)
            .size_limit(PATTERN_BYTES)
            .build()
            .map_err(|source| RuleError::Pattern { pattern: pattern.to_owned(), source })?;
        if !regex.capture_names().flatten().any(|name| name == "message") {
            return Err(RuleError::NoMessage(pattern.to_owned()));
        }
        Ok(Rule::Regex(Pattern(regex)))
    }

    /// Its name; `pattern` for a pattern.
    pub fn name(&self) -> &'static str {
        match self {
            Rule::Auto => "auto",
            Rule::Json => "json",
            Rule::Logfmt => "logfmt",
            Rule::Python => "python",
            Rule::Java => "java",
            Rule::Syslog => "syslog",
            Rule::Plain => "plain",
            Rule::None => "none",
            Rule::Regex(_) => "pattern",
        }
    }

    /// A line without a head belongs to the entry before, indented or not.
    pub(crate) fn headless_lines_belong(&self) -> bool {
        match self {
            Rule::Python | Rule::Java | Rule::Regex(_) => true,
            Rule::Auto | Rule::Json | Rule::Logfmt | Rule::Syslog | Rule::Plain | Rule::None => false,
        }
    }
}

/// A pattern that reads a line: groups `message` (required), `level`, `time`, `trace`, `user`; any other named group goes to
/// the context.
#[derive(Debug, Clone)]
pub struct Pattern(pub(crate) Regex);

/// Why there is no such rule.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// No rule of this name.
    #[error(
        "there is no log format `{0}`: use auto, json, logfmt, python, java, syslog, plain or none, or give a pattern"
    )]
    Unknown(String),
    /// The pattern does not compile.
    #[error("the log pattern `{pattern}` is no regular expression that can be used")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
    /// The pattern would leave every entry without a message.
    #[error("the log pattern `{0}` has no group for the message: write (?P<message>...) where it stands")]
    NoMessage(String),
}
