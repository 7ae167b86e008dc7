//! Shapes of one value: texts, numbers, times, sizes, words out of a few, addresses, paths.

use std::net::SocketAddr;
use std::time::Duration;

use super::address::{Address, split_port};
use super::fault::quoted;
use super::json::Json;
use super::scalar;
use super::shape::{Reader, Shape, any_of, typed};
use super::tree::{Kind, Node};
use super::{Condition, LineRule, RestartPolicy};
use crate::exit;
use crate::wish::Mode;

/// The text of a node, if it is one that a program can be given: without NUL.
pub(super) fn text<'n>(node: &'n Node, r: &mut Reader<'_, '_>, wanted: &str) -> Option<&'n str> {
    match &node.kind {
        Kind::Text(text) | Kind::Bare(text) if text.contains('\0') => {
            r.error(node.at, "holds a NUL character, which no path, argument or variable can", "");
            None
        }
        Kind::Text(text) | Kind::Bare(text) => Some(text),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => {
            r.expected(node, wanted, "");
            None
        }
    }
}

impl Shape for bool {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        match &node.kind {
            Kind::Bool(b) => Some(*b),
            Kind::Bare(text) if ["true", "yes", "on", "1"].contains(&text.as_str()) => Some(true),
            Kind::Bare(text) if ["false", "no", "off", "0"].contains(&text.as_str()) => Some(false),
            Kind::Text(text) if text == "true" || text == "false" => {
                r.expected(node, "true or false", "without quotes");
                None
            }
            Kind::Null | Kind::Number(_) | Kind::Text(_) | Kind::Bare(_) | Kind::List(_) | Kind::Map(_) => {
                r.expected(node, "true or false", "");
                None
            }
        }
    }

    fn schema() -> Json {
        typed("boolean")
    }
}

/// A text that is not empty.
impl Shape for String {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let text = text(node, r, "a text")?;
        if text.trim().is_empty() {
            r.error(node.at, "is empty", "leave the field out instead");
            return None;
        }
        Some(text.to_owned())
    }

    fn schema() -> Json {
        Json::map([("type", Json::text("string")), ("minLength", Json::number(1))])
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole<const MIN: u64, const MAX: u64>(pub(super) u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// As the smaller type that its bounds were chosen for.
    pub(super) fn into_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl<const MIN: u64, const MAX: u64> Shape for Whole<MIN, MAX> {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let wanted = format!("a whole number from {MIN} to {MAX}");
        let number = match &node.kind {
            Kind::Number(text) | Kind::Bare(text) => text.parse::<u64>().ok(),
            Kind::Text(text) if text.parse::<u64>().is_ok() => {
                r.expected(node, &wanted, "without quotes");
                return None;
            }
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        match number {
            Some(n) if (MIN..=MAX).contains(&n) => Some(Self(n)),
            _ => {
                r.expected(node, &wanted, "");
                None
            }
        }
    }

    fn schema() -> Json {
        let bounds = [("minimum", Json::number(MIN)), ("maximum", Json::number(MAX))];
        Json::map([("type", Json::text("integer"))].into_iter().chain(bounds))
    }
}

/// A number from `MIN` to `MAX`, both in thousandths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decimal<const MIN: u32, const MAX: u32>(pub(super) f64);

impl<const MIN: u32, const MAX: u32> Decimal<MIN, MAX> {
    const LOW: f64 = MIN as f64 / 1000.0;
    const HIGH: f64 = MAX as f64 / 1000.0;
}

impl<const MIN: u32, const MAX: u32> Shape for Decimal<MIN, MAX> {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let number = match &node.kind {
            Kind::Number(text) | Kind::Bare(text) => text.parse::<f64>().ok(),
            Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        match number {
            Some(n) if (Self::LOW..=Self::HIGH).contains(&n) => Some(Self(n)),
            _ => {
                r.expected(node, &format!("a number from {} to {}", Self::LOW, Self::HIGH), "");
                None
            }
        }
    }

    fn schema() -> Json {
        let bounds = [("minimum", Json::number(Self::LOW)), ("maximum", Json::number(Self::HIGH))];
        Json::map([("type", Json::text("number"))].into_iter().chain(bounds))
    }
}

/// A duration from `MIN` to `MAX` milliseconds: a number of seconds, or `500ms`, `10s`, `2m`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time<const MIN: u64, const MAX: u64>(pub(super) Duration);

impl<const MIN: u64, const MAX: u64> Shape for Time<MIN, MAX> {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
        let found = match &node.kind {
            Kind::Number(text) => scalar::seconds(text),
            Kind::Text(text) | Kind::Bare(text) => scalar::duration(text),
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        match found {
            Some(d) if (min..=max).contains(&d) => Some(Self(d)),
            Some(_) => {
                let range = format!("from {} to {}", scalar::show_duration(min), scalar::show_duration(max));
                r.expected(node, &format!("a time {range}"), "");
                None
            }
            None => {
                r.expected(
                    node,
                    "a time",
                    "a number of seconds, or like \"500ms\", \"10s\", \"2m\", \"1h30m\"",
                );
                None
            }
        }
    }

    fn schema() -> Json {
        let seconds = |ms: u64| Json::number(Duration::from_millis(ms).as_secs_f64());
        let number = [("type", Json::text("number")), ("minimum", seconds(MIN)), ("maximum", seconds(MAX))];
        let pattern = r"^(\d+(\.\d+)?|(\d+(ms|s|m|min|h|d))+)$";
        let text = [("type", Json::text("string")), ("pattern", Json::text(pattern))];
        any_of([Json::map(number), Json::map(text)])
    }
}

/// A number of bytes from `MIN`: a number, or `512M`, `1G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bytes<const MIN: u64>(pub(super) u64);

impl<const MIN: u64> Shape for Bytes<MIN> {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let found = match &node.kind {
            Kind::Number(text) => text.parse().ok(),
            Kind::Text(text) | Kind::Bare(text) => scalar::size(text),
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        match found {
            Some(n) if n >= MIN => Some(Self(n)),
            Some(_) => {
                r.expected(node, &format!("at least {MIN} bytes"), "");
                None
            }
            None => {
                r.expected(node, "a size", "a number of bytes, or like \"512K\", \"512M\", \"1G\"");
                None
            }
        }
    }

    fn schema() -> Json {
        let number = [("type", Json::text("integer")), ("minimum", Json::number(MIN))];
        let text = [("type", Json::text("string")), ("pattern", Json::text(r"^\d+([KMGT]?B?|[KMGT]iB)$"))];
        any_of([Json::map(number), Json::map(text)])
    }
}

/// A word out of a few.
pub(super) trait Choice: Copy + Sized + 'static {
    /// What may stand in the file, and what it means.
    const WORDS: &[(&'static str, Self)];
}

/// A field that holds a [`Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct One<C>(pub(super) C);

impl<C: Choice> Shape for One<C> {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let names = C::WORDS.iter().map(|(word, _)| *word);
        let wanted = format!("one of {}", names.clone().collect::<Vec<_>>().join(", "));
        let found = text(node, r, &wanted)?;
        let known = C::WORDS.iter().find(|(word, _)| *word == found);
        if known.is_none() {
            let near =
                super::nearest(found, names).map_or_else(String::new, |n| format!("did you mean `{n}`?"));
            r.expected(node, &wanted, &near);
        }
        known.map(|(_, it)| One(*it))
    }

    fn schema() -> Json {
        let words = C::WORDS.iter().map(|(word, _)| Json::text(*word)).collect();
        Json::map([("type", Json::text("string")), ("enum", Json::List(words))])
    }
}

impl Choice for Condition {
    const WORDS: &[(&'static str, Self)] = &[
        ("started", Condition::Started),
        ("ready", Condition::Ready),
        ("healthy", Condition::Healthy),
        ("completed", Condition::Completed),
    ];
}

impl Choice for RestartPolicy {
    const WORDS: &[(&'static str, Self)] = &[
        ("always", RestartPolicy::Always),
        ("on-failure", RestartPolicy::OnFailure),
        ("never", RestartPolicy::Never),
    ];
}

impl Choice for LineRule {
    const WORDS: &[(&'static str, Self)] = &[
        ("auto", LineRule::Auto),
        ("json", LineRule::Json),
        ("logfmt", LineRule::Logfmt),
        ("python", LineRule::Python),
        ("java", LineRule::Java),
        ("syslog", LineRule::Syslog),
        ("plain", LineRule::Plain),
        ("none", LineRule::None),
    ];
}

impl Choice for Mode {
    const WORDS: &[(&'static str, Self)] =
        &[("development", Mode::Development), ("production", Mode::Production)];
}

/// A signal by name (`SIGTERM`, `TERM`) or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signal(pub(super) i32);

impl Shape for Signal {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let found = match &node.kind {
            Kind::Number(text) => text.parse().ok().filter(|n| exit::signal_name(*n).is_some()),
            Kind::Text(text) | Kind::Bare(text) => exit::signal_number(text),
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        if found.is_none() {
            r.expected(node, "a signal", "like \"SIGTERM\", \"SIGINT\", \"SIGQUIT\", or 1 to 31");
        }
        found.map(Signal)
    }

    fn schema() -> Json {
        let number =
            [("type", Json::text("integer")), ("minimum", Json::number(1)), ("maximum", Json::number(31))];
        any_of([typed("string"), Json::map(number)])
    }
}

/// An `http://` or `https://` address.
impl Shape for Address {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let text = text(node, r, "a url")?;
        match Address::parse(text) {
            Ok(address) => Some(address),
            Err(why) => {
                r.error(
                    node.at,
                    format!("{} is not a url: it {why}", quoted(text)),
                    "like \"http://localhost:5000\"",
                );
                None
            }
        }
    }

    fn schema() -> Json {
        Json::map([("type", Json::text("string")), ("pattern", Json::text("^https?://[^/@\\s]+"))])
    }
}

/// A relative path that stays in the directory of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Inside(pub(super) String);

impl Shape for Inside {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let path = String::read(node, r)?;
        if !scalar::stays_inside(&path) {
            let hint = "give a path relative to `path`, without leaving it; `path` itself may be anywhere";
            r.error(node.at, format!("{} leaves the service's directory", quoted(&path)), hint);
            return None;
        }
        Some(Self(path))
    }

    fn schema() -> Json {
        Json::map([("type", Json::text("string")), ("pattern", Json::text(r"^(?!/|\.\.(/|$)).+$"))])
    }
}

/// A TCP address of this host's loopback, as numbers: `127.0.0.1:5004`, `[::1]:5004`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local(pub(super) SocketAddr);

impl Shape for Local {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let text = match &node.kind {
            Kind::Text(text) | Kind::Bare(text) => text.as_str(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Map(_) => "",
        };
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 && address.ip().is_loopback() => Some(Self(address)),
            Ok(address) if address.port() > 0 => {
                let hint = "what others are to reach stands behind a proxy, as Nexus is one";
                r.error(node.at, format!("`{address}` is not on this host's loopback"), hint);
                None
            }
            Ok(_) | Err(_) => {
                r.expected(node, "an address and a port", "like \"127.0.0.1:5004\" or \"[::1]:5004\"");
                None
            }
        }
    }

    fn schema() -> Json {
        typed("string")
    }
}

/// A TCP address to knock at: a port of this host, or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Knock {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Shape for Knock {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let found = match &node.kind {
            Kind::Number(text) => text.parse().ok().filter(|p| *p > 0).map(|port| ("127.0.0.1", port)),
            Kind::Text(text) | Kind::Bare(text) => match split_port(text) {
                Ok((host, Some(port))) if !host.is_empty() && !host.contains(['\0', ' ', '/']) => {
                    Some((host, port))
                }
                Ok(_) | Err(_) => None,
            },
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => None,
        };
        if found.is_none() {
            r.expected(node, "a port from 1 to 65535 or \"host:port\"", "");
        }
        found.map(|(host, port)| Self { host: host.to_owned(), port })
    }

    fn schema() -> Json {
        any_of([Whole::<1, 65535>::schema(), typed("string")])
    }
}
