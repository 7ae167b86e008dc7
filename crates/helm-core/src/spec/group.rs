//! Shapes made of several values: lists, free names, variables, edges, programs.

use super::Condition;
use super::fault::quoted;
use super::json::Json;
use super::plain::{One, text};
use super::shape::{At, Reader, Shape, any_of, typed};
use super::tree::{Kind, Node};

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
pub(super) struct Texts(pub(super) Vec<At<String>>);

impl Shape for Texts {
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
