//! What a stream was asked for: topics and filters, from the query. A list is one key with commas: Nexus keeps the first of
//! repeated keys alone.

use std::collections::BTreeSet;

use helm_proto::v1::{LogFilter, LogText};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor::Cursor;
use super::rights::Rights;
use crate::problem::{Problem, Result};

/// What can be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// How services are.
    Status,
    /// What happens to them.
    Events,
    /// What they say.
    Logs,
    /// What they use.
    Metrics,
    /// How operations go.
    Jobs,
}

const TOPICS: [(&str, Topic); 5] = [
    ("status", Topic::Status),
    ("events", Topic::Events),
    ("logs", Topic::Logs),
    ("metrics", Topic::Metrics),
    ("jobs", Topic::Jobs),
];

const LEVELS: [&str; 5] = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];
/// Longest pattern, and what one may cost, compiled.
const PATTERN: usize = 1000;
const PATTERN_BYTES: usize = 1 << 20;

/// The query of a stream.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// status, events, logs, metrics, jobs; several with commas. Default: status,events,jobs
    topics: Option<String>,
    /// Only these services, with commas.
    services: Option<String>,
    /// Log: at least this level.
    level: Option<String>,
    /// Log: holds this text, whatever its case.
    search: Option<String>,
    /// Log: matches this regular expression.
    regex: Option<String>,
    /// Log: does not hold this text.
    exclude: Option<String>,
    /// Log: of this trace.
    trace_id: Option<String>,
    /// Log: of this user.
    user_id: Option<String>,
    /// Go on behind this: the last `id:` of a former stream. The header Last-Event-ID says the same.
    cursor: Option<String>,
}

/// The same, understood.
#[derive(Debug)]
pub struct Asked {
    topics: BTreeSet<Topic>,
    services: BTreeSet<String>,
    level: usize,
    search: Option<String>,
    pattern: Option<Regex>,
    regex: Option<String>,
    exclude: Option<String>,
    trace_id: Option<String>,
    user_id: Option<String>,
    /// Where to go on.
    pub cursor: Option<Cursor>,
}

/// A log entry as filters look at it.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Whose.
    pub service: &'a str,
    /// How grave.
    pub level: &'a str,
    /// What it says.
    pub message: &'a str,
    /// Its trace.
    pub trace_id: Option<&'a str>,
    /// Its user.
    pub user_id: Option<&'a str>,
}

impl StreamQuery {
    /// What is meant. `last`: the header Last-Event-ID, which a browser sends when it comes again.
    ///
    /// # Errors
    /// Something of it is none.
    pub fn understood(self, last: Option<&str>) -> Result<Asked> {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let topics = filled(self.topics).unwrap_or_else(|| "status,events,jobs".to_owned());
        let topics = list(&topics).map(|word| topic(&word)).collect::<Result<_>>()?;
        let level = match filled(self.level) {
            None => 0,
            Some(word) => rank(&word)
                .ok_or_else(|| Problem::bad_request(format!("a level is one of {}", LEVELS.join(", "))))?,
        };
        let regex = filled(self.regex);
        let pattern = regex.as_deref().map(compiled).transpose()?;
        let lower = |text: Option<String>| filled(text).map(|text| text.to_lowercase());
        let cursor = last.map(str::to_owned).or(filled(self.cursor));
        let cursor = cursor.map(|text| text.parse()).transpose();
        Ok(Asked {
            topics,
            services: filled(self.services).iter().flat_map(|names| list(names)).collect(),
            level,
            search: lower(self.search),
            pattern,
            regex,
            exclude: lower(self.exclude),
            trace_id: filled(self.trace_id),
            user_id: filled(self.user_id),
            cursor: cursor.map_err(|e: super::cursor::BadCursor| Problem::bad_request(e.to_string()))?,
        })
    }
}

fn list(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty())
}

fn topic(word: &str) -> Result<Topic> {
    let known = TOPICS.iter().find(|(name, _)| *name == word).map(|(_, topic)| *topic);
    known.ok_or_else(|| {
        let names = TOPICS.map(|(name, _)| name).join(", ");
        Problem::bad_request(format!("there is no such topic; there are {names}"))
    })
}

fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|name| name.eq_ignore_ascii_case(level))
}

fn compiled(pattern: &str) -> Result<Regex> {
    if pattern.len() > PATTERN {
        return Err(Problem::bad_request(format!("a pattern has at most {PATTERN} bytes")));
    }
    let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build();
    regex.map_err(|e| Problem::bad_request(format!("the pattern is none: {e}")))
}

impl Asked {
    /// Whether this was asked for.
    #[must_use]
    pub fn wants(&self, topic: Topic) -> bool {
        self.topics.contains(&topic)
    }

    /// Whether this service was asked for.
    #[must_use]
    pub fn is_about(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.contains(service)
    }

    /// Whether this entry was asked for.
    #[must_use]
    pub fn takes(&self, entry: &Seen<'_>) -> bool {
        let holds = |text: &str| entry.message.to_lowercase().contains(text);
        self.is_about(entry.service)
            && (self.level == 0 || rank(entry.level).is_some_and(|rank| rank >= self.level))
            && self.trace_id.as_deref().is_none_or(|id| entry.trace_id == Some(id))
            && self.user_id.as_deref().is_none_or(|id| entry.user_id == Some(id))
            && self.search.as_deref().is_none_or(holds)
            && !self.exclude.as_deref().is_some_and(holds)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(entry.message))
    }

    /// Services that were asked for by name, and of which nothing may be seen.
    #[must_use]
    pub fn refused(&self, rights: &Rights) -> Vec<&str> {
        let hidden = |name: &&str| !rights.may("services", name);
        self.services.iter().map(String::as_str).filter(hidden).collect()
    }

    /// The same filter, for helmd to read the past by, for those of the services that hold; `None`: services were named, and none does.
    #[must_use]
    pub fn filter(&self, holds: impl Fn(&str) -> bool) -> Option<LogFilter> {
        let services: Vec<String> = self.services.iter().filter(|name| holds(name)).cloned().collect();
        if services.is_empty() && !self.services.is_empty() {
            return None;
        }
        let text = |pattern: &Option<String>, kind: &str, not: bool| {
            let text = |pattern: &String| LogText {
                pattern: pattern.clone(),
                kind: kind.to_owned(),
                case_sensitive: kind == "regex",
                not,
            };
            pattern.as_ref().map(text)
        };
        let texts = [
            text(&self.search, "substring", false),
            text(&self.exclude, "substring", true),
            text(&self.regex, "regex", false),
        ];
        Some(LogFilter {
            services,
            level: if self.level == 0 { String::new() } else { LEVELS[self.level].to_owned() },
            trace_id: self.trace_id.clone().unwrap_or_default(),
            user_id: self.user_id.clone().unwrap_or_default(),
            texts: texts.into_iter().flatten().collect(),
            ..LogFilter::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: StreamQuery) -> Asked {
        query.understood(None).unwrap()
    }

    fn entry<'a>(service: &'a str, level: &'a str, message: &'a str) -> Seen<'a> {
        Seen { service, level, message, trace_id: Some("t1"), user_id: None }
    }

    #[test]
    fn an_entry_passes_where_everything_that_was_asked_holds() {
        let filter = asked(StreamQuery {
            services: Some("core, codex".into()),
            level: Some("warning".into()),
            search: Some("Dead".into()),
            exclude: Some("known".into()),
            ..StreamQuery::default()
        });
        for (seen, passes) in [
            (entry("core", "ERROR", "deadlock"), true),
            (entry("codex", "WARNING", "DEAD letter"), true),
            (entry("core", "INFO", "deadlock"), false),
            (entry("ledger", "ERROR", "deadlock"), false),
            (entry("core", "ERROR", "a known deadlock"), false),
            (entry("core", "ERROR", "alive"), false),
        ] {
            assert_eq!(filter.takes(&seen), passes, "{seen:?}");
        }
        let traced = asked(StreamQuery { trace_id: Some("t2".into()), ..StreamQuery::default() });
        assert!(!traced.takes(&entry("core", "ERROR", "x")));
        let pattern = asked(StreamQuery { regex: Some("^a+$".into()), ..StreamQuery::default() });
        assert!(pattern.takes(&entry("core", "INFO", "aaa")) && !pattern.takes(&entry("core", "INFO", "ab")));
    }

    #[test]
    fn of_several_services_those_that_may_be_seen_are_asked_for() {
        let filter = asked(StreamQuery { services: Some("core,codex".into()), ..StreamQuery::default() });
        let of = |names: &[&str]| filter.filter(|name| names.contains(&name)).map(|filter| filter.services);
        assert_eq!(of(&["core", "ledger"]), Some(vec!["core".to_owned()]));
        assert_eq!(of(&["ledger"]), None);
        let all = asked(StreamQuery::default()).filter(|_| false).map(|filter| filter.services);
        assert_eq!(all, Some(Vec::new()), "nothing is named: helmd narrows it");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for query in [
            StreamQuery { topics: Some("status,moon".into()), ..StreamQuery::default() },
            StreamQuery { level: Some("loud".into()), ..StreamQuery::default() },
            StreamQuery { regex: Some("(".into()), ..StreamQuery::default() },
            StreamQuery { regex: Some("a{1000}{1000}".into()), ..StreamQuery::default() },
            StreamQuery { cursor: Some("moon".into()), ..StreamQuery::default() },
        ] {
            assert_eq!(query.understood(None).unwrap_err().status(), 400);
        }
    }

    #[test]
    fn the_header_of_a_browser_goes_before_the_query() {
        let query = StreamQuery { cursor: Some("1!a".into()), ..StreamQuery::default() };
        assert_eq!(query.understood(Some("2!b")).unwrap().cursor.map(|c| c.event), Some(2));
    }
}
