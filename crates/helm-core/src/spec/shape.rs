//! Shapes: what a field may hold. A shape reads a value, reports what is wrong with it, and describes itself for the
//! schema, so that reader, "nearest known name" and schema cannot drift apart.
//!
//! [`fields!`] makes an object of such fields: the tables in `table`, `registry` and `conf` are the only lists of names.

use std::time::Duration;

use super::address::{Address, split_port};
use super::fault::{Doc, Severity, meant, quoted};
use super::json::Json;
use super::scalar;
use super::tree::{Kind, Member, Node};
use super::{Condition, RestartPolicy};
use crate::exit;
use crate::wish::Mode;

/// A value and the byte where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) at: usize,
    pub(super) it: T,
}

/// Reads nodes of one file; knows the name of the place where it is.
pub(super) struct Reader<'d, 't> {
    pub(super) doc: &'d mut Doc<'t>,
    /// `services.core.probes`
    place: String,
    /// How much a field that nobody knows matters in this file.
    unknown: Severity,
}

impl<'d, 't> Reader<'d, 't> {
    pub(super) fn new(doc: &'d mut Doc<'t>, place: &str, unknown: Severity) -> Self {
        Self { doc, place: place.to_owned(), unknown }
    }

    pub(super) fn error(&mut self, at: usize, message: impl Into<String>, hint: impl Into<String>) {
        self.doc.error(at, &self.place, message, hint);
    }

    /// Does `work` one level deeper, at `.name` or `[3]`.
    pub(super) fn within<R>(&mut self, step: &str, work: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.place.len();
        if !step.starts_with('[') {
            self.place.push('.');
        }
        self.place.extend(step.chars().take(80));
        let result = work(self);
        self.place.truncate(length);
        result
    }

    /// Reads the value of a member, in its place.
    pub(super) fn field<T: Shape>(&mut self, member: &Member) -> Option<At<T>> {
        self.within(&member.name, |r| Some(At { at: member.value.at, it: T::read(&member.value, r)? }))
    }

    /// The members of an object, duplicates reported and left out.
    pub(super) fn members<'n>(&mut self, node: &'n Node) -> Option<Vec<&'n Member>> {
        let Kind::Map(members) = &node.kind else {
            self.expected(node, "an object", "");
            return None;
        };
        let mut seen = std::collections::BTreeMap::new();
        let mut kept = Vec::with_capacity(members.len());
        for member in members {
            if let Some(first) = seen.insert(member.name.as_str(), member.at) {
                let (line, _) = self.doc.place(first);
                let message = format!("{} stands twice (first in line {line})", quoted(&member.name));
                self.within(&member.name, |r| r.error(member.at, message, "take one of them away"));
            } else {
                kept.push(member);
            }
        }
        Some(kept)
    }

    /// A member that no table knows.
    pub(super) fn unknown(&mut self, member: &Member, known: &[&'static str]) {
        let severity = self.unknown;
        let hint = meant(&member.name, known.iter().copied());
        self.within(&member.name, |r| {
            let message = "is not a field that Helm knows".to_owned();
            r.doc.fault(severity, member.at, &r.place, message, hint);
        });
    }

    pub(super) fn expected(&mut self, node: &Node, wanted: &str, hint: &str) {
        let found = match &node.kind {
            Kind::Text(text) | Kind::Bare(text) => quoted(text),
            Kind::Number(number) => quoted(number),
            Kind::Null | Kind::Bool(_) | Kind::List(_) | Kind::Map(_) => node.kind.noun().to_owned(),
        };
        let hint =
            if node.kind == Kind::Null && hint.is_empty() { "leave the field out instead" } else { hint };
        self.error(node.at, format!("must be {wanted}, not {found}"), hint);
    }
}

/// What a field may hold.
pub(super) trait Shape: Sized {
    /// Reads a value; `None` after the fault has been reported.
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self>;

    /// How JSON Schema says it.
    fn schema() -> Json;
}

/// An object with named fields, each of which may be left out. One row: documentation, name, shape (and the name in the
/// file, where it cannot be a Rust name).
macro_rules! fields {
    ($(#[doc = $about:expr])+ $name:ident { $( $(#[doc = $doc:expr])+ $field:ident : $shape:ty $(= $key:literal)?, )+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Default)]
        pub(super) struct $name {
            $( $(#[doc = $doc])+ pub(super) $field: Option<$crate::spec::shape::At<$shape>>, )+
            /// A field was bad or unknown: nothing may be concluded from one that is missing.
            pub(super) faulty: bool,
        }

        impl $name {
            /// The names of its fields, as they stand in the file.
            pub(super) const NAMES: &[&str] = &[$( fields!(@key $field $($key)?) ),+];
        }

        impl $crate::spec::shape::Shape for $name {
            fn read(node: &$crate::spec::tree::Node, r: &mut $crate::spec::shape::Reader<'_, '_>) -> Option<Self> {
                let mut made = Self::default();
                for member in r.members(node)? {
                    match member.name.as_str() {
                        $( fields!(@key $field $($key)?) => {
                            made.$field = r.field(member);
                            made.faulty |= made.$field.is_none();
                        } )+
                        _ => {
                            r.unknown(member, Self::NAMES);
                            made.faulty = true;
                        }
                    }
                }
                Some(made)
            }

            fn schema() -> $crate::spec::json::Json {
                $crate::spec::shape::object_schema(
                    &[$($about),+],
                    vec![$( (fields!(@key $field $($key)?), &[$($doc),+][..], <$shape as $crate::spec::shape::Shape>::schema()) ),+],
                )
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
}
pub(super) use fields;

/// The schema of an object that [`fields!`] made.
pub(super) fn object_schema(about: &[&str], fields: Vec<(&'static str, &[&str], Json)>) -> Json {
    let described = fields.into_iter().map(|(name, doc, schema)| (name, describe(doc, schema)));
    Json::map([
        ("description", Json::text(sentence(about))),
        ("type", Json::text("object")),
        ("properties", Json::map(described)),
        ("additionalProperties", Json::Bool(false)),
    ])
}

fn describe(doc: &[&str], schema: Json) -> Json {
    let Json::Map(mut members) = schema else { return schema };
    members.retain(|(name, _)| name != "description");
    members.insert(0, ("description".to_owned(), Json::text(sentence(doc))));
    Json::Map(members)
}

fn sentence(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn typed(kind: &str) -> Json {
    Json::map([("type", Json::text(kind))])
}

fn any_of(choices: impl IntoIterator<Item = Json>) -> Json {
    Json::map([("anyOf", Json::List(choices.into_iter().collect()))])
}

/// The text of a node, if it is one that a program can be given: no NUL, no raw control character.
fn text<'n>(node: &'n Node, r: &mut Reader<'_, '_>, wanted: &str) -> Option<&'n str> {
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

/// A list.
impl<T: Shape> Shape for Vec<At<T>> {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        match &node.kind {
            Kind::List(items) => {
                let mut read = Vec::with_capacity(items.len());
                for (i, item) in items.iter().enumerate() {
                    let it = r.within(&format!("[{i}]"), |r| T::read(item, r));
                    read.extend(it.map(|it| At { at: item.at, it }));
                }
                Some(read)
            }
            // An INI file has no lists: words parted by commas or blanks.
            Kind::Bare(text) => {
                let words = text.split([',', ' ', '\t']).filter(|w| !w.is_empty());
                let nodes = words.map(|w| Node { at: node.at, kind: Kind::Bare(w.to_owned()) });
                Some(nodes.filter_map(|n| Some(At { at: n.at, it: T::read(&n, r)? })).collect())
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_) => {
                r.expected(node, "a list", "like [\"a\", \"b\"]");
                None
            }
        }
    }

    fn schema() -> Json {
        Json::map([("type", Json::text("array")), ("items", T::schema())])
    }
}

/// An object whose names are free.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Named<T>(pub(super) Vec<(At<String>, At<T>)>);

impl<T: Shape> Shape for Named<T> {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let mut read = Vec::new();
        for member in r.members(node)? {
            let name = At { at: member.at, it: member.name.clone() };
            read.extend(r.field(member).map(|value| (name, value)));
        }
        Some(Self(read))
    }

    fn schema() -> Json {
        Json::map([("type", Json::text("object")), ("additionalProperties", T::schema())])
    }
}

/// Environment variables: texts, numbers, true or false.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Variables(pub(super) Vec<(String, At<String>)>);

impl Shape for Variables {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let mut read = Vec::new();
        for member in r.members(node)? {
            r.within(&member.name, |r| {
                if member.name.is_empty() || member.name.contains(['=', '\0']) {
                    r.error(member.at, format!("{} cannot name a variable", quoted(&member.name)), "");
                    return;
                }
                let value = match &member.value.kind {
                    Kind::Number(number) => Some(number.clone()),
                    Kind::Bool(b) => Some(b.to_string()),
                    Kind::Text(_) | Kind::Bare(_) | Kind::Null | Kind::List(_) | Kind::Map(_) => {
                        text(&member.value, r, "a text, a number, true or false").map(str::to_owned)
                    }
                };
                read.extend(value.map(|it| (member.name.clone(), At { at: member.value.at, it })));
            });
        }
        Some(Self(read))
    }

    fn schema() -> Json {
        let kinds = ["string", "number", "boolean"].map(Json::text).to_vec();
        let value = Json::map([("type", Json::List(kinds))]);
        Json::map([("type", Json::text("object")), ("additionalProperties", value)])
    }
}

/// `["core"]`, or `{"core": "healthy"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edges(pub(super) Vec<Edge>);

/// One dependency, its name not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) condition: Condition,
}

impl Shape for Edges {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let edges = match &node.kind {
            Kind::List(_) | Kind::Bare(_) => Vec::<At<String>>::read(node, r)?
                .into_iter()
                .map(|name| Edge { at: name.at, name: name.it, condition: Condition::default() })
                .collect(),
            Kind::Map(_) => Named::<One<Condition>>::read(node, r)?
                .0
                .into_iter()
                .map(|(name, condition)| Edge { at: name.at, name: name.it, condition: condition.it.0 })
                .collect(),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {
                r.expected(node, "a list or an object", "like [\"core\"] or {\"core\": \"healthy\"}");
                return None;
            }
        };
        Some(Self(edges))
    }

    fn schema() -> Json {
        any_of([Vec::<At<String>>::schema(), Named::<One<Condition>>::schema()])
    }
}

/// A program: an argv, or one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Argv(Vec<String>),
    Line(String),
}

impl Shape for Command {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        match &node.kind {
            Kind::List(_) => argv(node, r).map(Command::Argv),
            Kind::Text(_) | Kind::Bare(_) => String::read(node, r).map(Command::Line),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Map(_) => {
                r.expected(
                    node,
                    "a list of words or a text",
                    "like [\"redis-server\", \"--port\", \"6379\"]",
                );
                None
            }
        }
    }

    fn schema() -> Json {
        any_of([Argv::schema(), String::schema()])
    }
}

/// A program as a list of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argv(pub(super) Vec<String>);

impl Shape for Argv {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        argv(node, r).map(Self)
    }

    fn schema() -> Json {
        let items =
            [("type", Json::text("array")), ("items", typed("string")), ("minItems", Json::number(1))];
        Json::map(items)
    }
}

/// Words of an argv: an argument may be empty, the program may not.
fn argv(node: &Node, r: &mut Reader<'_, '_>) -> Option<Vec<String>> {
    let Kind::List(items) = &node.kind else {
        r.expected(node, "a list of words", "like [\"bin/check\", \"--fast\"]");
        return None;
    };
    let words: Vec<Option<String>> = items
        .iter()
        .enumerate()
        .map(|(i, item)| r.within(&format!("[{i}]"), |r| text(item, r, "a text").map(str::to_owned)))
        .collect();
    let words: Vec<String> = words.into_iter().collect::<Option<_>>()?;
    if words.first().is_none_or(|program| program.trim().is_empty()) {
        r.error(node.at, "names no program", "");
        return None;
    }
    Some(words)
}

/// One text, or a list of texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Some1(pub(super) Vec<At<String>>);

impl Shape for Some1 {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let texts = match &node.kind {
            Kind::List(items) if items.is_empty() => {
                r.error(node.at, "is an empty list", "leave the field out instead");
                return None;
            }
            Kind::List(_) => Vec::read(node, r)?,
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Bare(_) | Kind::Map(_) => {
                vec![At { at: node.at, it: String::read(node, r)? }]
            }
        };
        Some(Self(texts))
    }

    fn schema() -> Json {
        any_of([String::schema(), Vec::<At<String>>::schema()])
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

/// `false`, or the thing.
#[derive(Debug)]
pub(super) enum OrOff<T> {
    Off,
    On(Box<T>),
}

impl<T: Shape> Shape for OrOff<T> {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        if node.kind == Kind::Bool(false) {
            return Some(OrOff::Off);
        }
        T::read(node, r).map(|it| OrOff::On(Box::new(it)))
    }

    fn schema() -> Json {
        any_of([Json::map([("const", Json::Bool(false))]), T::schema()])
    }
}
