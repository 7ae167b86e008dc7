//! JSON text into nodes that know where they stand.
//!
//! Strict JSON: no comments, no trailing commas. Depth and size are bounded before anything recurses.

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::fault::Doc;

/// Longest configuration file, in bytes.
pub(super) const LONGEST_FILE: usize = 1 << 20;

/// A value and the byte at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    /// A value of an INI file: what it is depends on what is expected.
    Bare(String),
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// One `"name": value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) value: Node,
}

impl Kind {
    /// What it is, as a message calls it.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) | Kind::Bare(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "an object",
        }
    }
}

/// Refuses a file that is too long, before anything is done with it.
pub(super) fn fits(doc: &mut Doc<'_>) -> bool {
    let fits = doc.text.len() <= LONGEST_FILE;
    if !fits {
        let message = format!(
            "is {:.1} MiB long, more than the 1 MiB that Helm reads",
            doc.text.len() as f64 / 1_048_576.0
        );
        doc.whole(message, "is it the right file?");
    }
    fits
}

/// Parses the text of `doc`; a fault of syntax is the only one then, because nothing after it can be trusted.
pub(super) fn parse(doc: &mut Doc<'_>) -> Option<Node> {
    if !fits(doc) {
        return None;
    }
    // A byte order mark is invisible to whoever looks at the file; editors on Windows write it.
    let bom = if doc.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let parsed = parse_to_ast(&doc.text[bom..], &CollectOptions::default(), &strict());
    if let (Ok(_), Some(at)) = (&parsed, raw_control(doc.text)) {
        let message = "not JSON: a text holds a line end or another control character as it is";
        doc.error(at, "", message, "write it as \\n, \\t or \\u00XX");
        return None;
    }
    match parsed {
        Ok(result) => match result.value {
            Some(value) => Some(node(&value, bom)),
            None => {
                doc.whole("is empty", "an empty configuration is `{}`");
                None
            }
        },
        Err(e) => {
            let hint =
                "services.json is plain JSON: double quotes, no comments, no comma after the last entry";
            doc.error(
                e.range().start + bom,
                "",
                format!("not JSON: {}", lower_first(&e.kind().to_string())),
                hint,
            );
            None
        }
    }
}

/// The parser takes these as they are, JSON does not. Texts are known to be closed here.
fn raw_control(text: &str) -> Option<usize> {
    let (mut inside, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let bad = inside && byte < b' ';
        match byte {
            b'"' if !escaped => (inside, escaped) = (!inside, false),
            b'\\' if inside => escaped = !escaped,
            _ => escaped = false,
        }
        bad
    })
}

fn strict() -> ParseOptions {
    ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// The parser bounds the depth (512), so this recursion is bounded as well.
fn node(value: &Value<'_>, shift: usize) -> Node {
    let kind = match value {
        Value::NullKeyword(_) => Kind::Null,
        Value::BooleanLit(b) => Kind::Bool(b.value),
        Value::NumberLit(n) => Kind::Number(n.value.to_owned()),
        Value::StringLit(s) => Kind::Text(s.value.clone().into_owned()),
        Value::Array(list) => Kind::List(list.elements.iter().map(|v| node(v, shift)).collect()),
        Value::Object(object) => Kind::Map(
            object
                .properties
                .iter()
                .map(|p| Member {
                    at: p.range.start + shift,
                    name: name(&p.name),
                    value: node(&p.value, shift),
                })
                .collect(),
        ),
    };
    Node { at: value.range().start + shift, kind }
}

fn name(name: &ObjectPropName<'_>) -> String {
    match name {
        ObjectPropName::String(text) => text.value.clone().into_owned(),
        ObjectPropName::Word(word) => word.value.to_owned(),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}
