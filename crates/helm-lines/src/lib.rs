//! Captured output lines, and entries that others send, become structured log entries.
//!
//! ```text
//!  lines of a service --> Joiner --> Reader (rule) --> Entry      captured: never refused, nothing lost but what a bound cuts
//!  objects that are sent ----------> sent::repair --> Verdict     sent: taken, repaired with reasons, or refused
//! ```
//!
//! No IO and no clock: times are values, so that the same lines give the same entries in helmd, in a test and in
//! `helmctl logs explain`. Nothing here guesses: a level is read where a format puts it, never from a word within a message.
//! What is recognised, and the limits: docs/lines.md.

mod context;
mod entry;
mod explain;
mod health;
mod join;
pub mod json;
mod level;
mod read;
mod rule;
pub mod sent;
mod text;
mod time;
mod trace;

pub use context::{CONTEXT_MAX, Context, DEPTH_MAX};
pub use entry::{
    Body, Entry, Flags, Line, MESSAGE_MAX, Position, Span, TRACE_MAX, USER_MAX, trace_column, user_column,
};
pub use explain::{Explainer, Explanation, explain, explain_lines};
pub use health::is_health_probe;
pub use join::{HOLD, JOIN_LINES, Joiner, PIECE_HOLD};
pub use level::Level;
pub use read::Format;
pub use rule::{Pattern, Rule, RuleError};
pub use text::plain;
pub use time::{FUTURE, sent_time, write as write_time};
