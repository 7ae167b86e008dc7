//! Shapes: what a field may hold. A shape reads a value, reports what is wrong with it, and describes itself for the
//! schema, so that reader, "nearest known name" and schema cannot drift apart.
//!
//! [`fields!`] makes an object of such fields: the tables in `table`, `registry` and `conf` are the only lists of names.
//! What one value may hold is in `plain`, what is made of several in `group`.

use super::fault::{Doc, Severity, meant, quoted};
use super::json::Json;
use super::tree::{Kind, Member, Node};

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

/// Schema: a value of this type.
pub(super) fn typed(kind: &str) -> Json {
    Json::map([("type", Json::text(kind))])
}

/// Schema: one of these.
pub(super) fn any_of(choices: impl IntoIterator<Item = Json>) -> Json {
    Json::map([("anyOf", Json::List(choices.into_iter().collect()))])
}
