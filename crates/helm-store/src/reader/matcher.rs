//! Whether an entry is wanted: the reader's own test, which engines may leave work to.

use regex::{Regex, RegexBuilder};

use crate::entry::{Entry, flag};
use crate::partition::{Contents, Partition, level_slot};
use crate::query::{ContextIs, Filter, Text, TextKind, names};

/// Longest pattern, in bytes.
const PATTERN: usize = 4096;
/// Most dots of a key of the context: each doubles the ways in which it can be read.
pub const DOTS: usize = 6;
/// Memory that one pattern may take, compiled.
const COMPILED: usize = 1 << 20;

/// A filter that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No regular expression.
    #[error("`{pattern}` is no regular expression that Helm can search for: {why}")]
    Regex {
        /// As it came.
        pattern: String,
        /// What is wrong.
        why: String,
    },
    /// Too long.
    #[error("a text to search for has at most {PATTERN} bytes, this one has {0}")]
    Long(usize),
    /// Too many ways to read a key.
    #[error("a key of the context has at most {DOTS} dots, this one has {0}")]
    Dots(usize),
}

/// A filter, ready to test.
#[derive(Debug, Clone)]
pub struct Matcher {
    filter: Filter,
    texts: Vec<(Regex, bool)>,
}

impl Matcher {
    /// Compiles the texts. All patterns are searched for in linear time.
    pub fn new(filter: Filter) -> Result<Self, FilterError> {
        let texts = filter.texts.iter().map(|text| Ok((compile(text)?, text.not)));
        let texts = texts.collect::<Result<_, FilterError>>()?;
        let dots = filter.context.iter().map(|is| is.key.matches('.').count()).max().unwrap_or(0);
        if dots > DOTS {
            return Err(FilterError::Dots(dots));
        }
        Ok(Self { filter, texts })
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether `entry` is wanted.
    pub fn wants(&self, entry: &Entry) -> bool {
        let (filter, body) = (&self.filter, &entry.body);
        let same = |wanted: &Option<String>, has: &Option<String>| wanted.is_none() || wanted == has;
        let from = |instance| filter.instances.is_empty() || filter.instances.contains(&instance);
        (filter.twins || body.flags & flag::TWIN == 0)
            && entry.id.partition().is_some_and(|partition| from(partition.instance))
            && names(&filter.services, &body.service)
            && filter.levels.is_none_or(|levels| levels.has(body.level))
            && filter.since.is_none_or(|since| body.at >= since)
            && filter.until.is_none_or(|until| body.at < until)
            && same(&filter.trace, &body.trace)
            && same(&filter.user, &body.user)
            && filter.source.is_none_or(|source| source == body.source)
            && self.texts.iter().all(|(regex, not)| regex.is_match(body.searched()) != *not)
            && (filter.context.is_empty() || has_context(&filter.context, body.context.as_deref()))
    }

    /// Whether a partition may hold an entry that is wanted.
    pub fn may_be_in(&self, partition: &Partition) -> bool {
        let Contents { at, services, .. } = &partition.contents;
        let Some((low, high)) = *at else { return false };
        let filter = &self.filter;
        if !filter.instances.is_empty() && !filter.instances.contains(&partition.id.instance) {
            return false;
        }
        let levels = |counts: &[u64; 5]| {
            filter.levels.is_none_or(|levels| {
                crate::entry::Level::ALL.iter().any(|l| levels.has(*l) && counts[level_slot(*l)] > 0)
            })
        };
        let mut named = services.iter().filter(|(name, _)| names(&filter.services, name));
        // Twins are not counted.
        let counted = filter.twins || named.any(|(_, counts)| levels(counts));
        counted
            && filter.since.is_none_or(|since| high >= since)
            && filter.until.is_none_or(|until| low < until)
    }
}

/// Whether an engine finds what is wanted by its indexes, so that looking for it needs no walk in pieces.
pub(super) fn is_direct(filter: &Filter) -> bool {
    let indexed = filter.trace.is_some() || filter.user.is_some();
    indexed || (filter.texts.is_empty() && filter.context.is_empty() && filter.source.is_none())
}

/// Whether the counts per minute know how many are wanted.
pub(super) fn is_counted(filter: &Filter) -> bool {
    is_direct(filter) && filter.trace.is_none() && filter.user.is_none() && !filter.twins
}

fn compile(text: &Text) -> Result<Regex, FilterError> {
    if text.pattern.len() > PATTERN {
        return Err(FilterError::Long(text.pattern.len()));
    }
    let pattern = match text.kind {
        TextKind::Regex => text.pattern.clone(),
        TextKind::Substring => regex::escape(&text.pattern),
        TextKind::Word => {
            let word =
                |c: Option<char>| if c.is_some_and(|c| c.is_alphanumeric() || c == '_') { r"\b" } else { "" };
            let (first, last) = (text.pattern.chars().next(), text.pattern.chars().next_back());
            format!("{}{}{}", word(first), regex::escape(&text.pattern), word(last))
        }
    };
    RegexBuilder::new(&pattern)
        .case_insensitive(!text.case)
        .multi_line(true)
        .size_limit(COMPILED)
        .dfa_size_limit(COMPILED)
        .build()
        .map_err(|error| FilterError::Regex { pattern: text.pattern.clone(), why: in_a_sentence(&error) })
}

/// The parser draws the pattern and points into it; its last line says what is wrong.
fn in_a_sentence(error: &regex::Error) -> String {
    let all = error.to_string();
    let last = all.lines().next_back().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn has_context(wanted: &[ContextIs], context: Option<&str>) -> bool {
    let Some(context) = context.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()) else {
        return false;
    };
    wanted.iter().all(|is| is.holds(&context))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::sample;
    use crate::id::EntryId;

    fn wants(filter: Filter, change: impl FnOnce(&mut crate::entry::NewEntry)) -> bool {
        let mut body = sample("User Éva logged in: 42%");
        change(&mut body);
        Matcher::new(filter).unwrap().wants(&Entry { id: EntryId(0), digest: 0, body })
    }

    fn text(pattern: &str, kind: TextKind, case: bool, not: bool) -> Filter {
        Filter { texts: vec![Text { pattern: pattern.into(), kind, case, not }], ..Filter::default() }
    }

    #[test]
    fn texts_are_found_without_case_unless_it_counts() {
        use TextKind::{Regex, Substring, Word};
        for (pattern, kind, case, found) in [
            ("éVA LOG", Substring, false, true),
            ("éVA LOG", Substring, true, false),
            ("42%", Word, false, true),
            ("log", Word, false, false),
            ("logged", Word, false, true),
            ("l.g+ed", Substring, false, false),
            ("l.g+ed", Regex, false, true),
            ("^user", Regex, false, true),
        ] {
            assert_eq!(wants(text(pattern, kind, case, false), |_| ()), found, "{pattern}");
            assert_eq!(wants(text(pattern, kind, case, true), |_| ()), !found, "not {pattern}");
        }
    }

    #[test]
    fn what_is_searched_is_the_plain_text() {
        let colour = |e: &mut crate::entry::NewEntry| {
            e.message = "\u{1b}[31mred\u{1b}[0m alert".into();
            e.plain = Some("red alert".into());
        };
        assert!(wants(text("red alert", TextKind::Substring, false, false), colour));
    }

    #[test]
    fn context_is_compared_as_text_and_dots_reach_into_objects() {
        let is = |key: &str, value: &str| Filter {
            context: vec![ContextIs { key: key.into(), value: value.into() }],
            ..Filter::default()
        };
        let json = r#"{"a":{"b":{"c":1}},"a.b":{"d":"x"},"ok":true,"n":null}"#;
        for (key, value, found) in [
            ("a.b.c", "1", true),
            ("a.b.d", "x", true),
            ("a.b", "2", false),
            ("ok", "true", true),
            ("n", "null", true),
            ("z", "1", false),
        ] {
            assert_eq!(wants(is(key, value), |e| e.context = Some(json.into())), found, "{key}");
        }
        assert_eq!(Matcher::new(is("a.b.c.d.e.f.g.h", "1")).unwrap_err(), FilterError::Dots(7));
        assert!(!wants(is("a", "1"), |e| e.context = Some("[no object".into())));
        assert!(!wants(is("a", "1"), |e| e.context = None));
    }

    #[test]
    fn what_cannot_be_compiled_is_said() {
        for pattern in ["(", "(?:(?:a{100}){100}){100}"] {
            let error = Matcher::new(text(pattern, TextKind::Regex, false, false)).unwrap_err();
            assert!(error.to_string().contains("no regular expression"), "{error}");
        }
        let long = "x".repeat(5000);
        assert_eq!(
            Matcher::new(text(&long, TextKind::Word, false, false)).unwrap_err(),
            FilterError::Long(5000)
        );
    }

    #[test]
    fn the_audit_trail_must_be_named() {
        let audit = |e: &mut crate::entry::NewEntry| e.service = crate::entry::AUDIT.into();
        assert!(!wants(Filter::default(), audit));
        assert!(wants(Filter { services: vec![crate::entry::AUDIT.into()], ..Filter::default() }, audit));
    }

    #[test]
    fn twins_are_wanted_only_when_asked_for() {
        let twin = |e: &mut crate::entry::NewEntry| e.flags = flag::TWIN;
        assert!(!wants(Filter::default(), twin));
        assert!(wants(Filter { twins: true, ..Filter::default() }, twin));
    }
}
