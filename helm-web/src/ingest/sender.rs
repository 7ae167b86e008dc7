//! Who sends entries, and what that means for them: a function of values.

use axum::http::HeaderMap;
use helm_ingest::Record;
use serde_json::{Map, Value};

use crate::auth::{Caller, cross_site};
use crate::problem::{Problem, Result};

/// Who sends.
#[derive(Debug, Clone)]
pub struct Sender {
    /// As helmd is told.
    pub caller: Caller,
    /// The user whose socket the other end is.
    pub uid: Option<u32>,
    /// What every entry is marked with.
    marks: Vec<(&'static str, Value)>,
}

/// Bodies that a form of another site can send without being asked (fetch standard: CORS-safelisted types).
const OF_FORMS: [&str; 4] = ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

impl Sender {
    /// What this caller sends is marked with how it was let in.
    #[must_use]
    pub fn of(caller: Caller, uid: Option<u32>) -> Self {
        let marks = match caller.principal.via.as_str() {
            "direct" => vec![("auth", Value::from("none")), ("uid", uid.map_or(Value::Null, Value::from))],
            "user" | "session" => vec![("sub", Value::from(caller.principal.subject.clone()))],
            _ => Vec::new(),
        };
        Self { caller, uid, marks }
    }

    /// Without a token: refused where the home says so, and to pages.
    ///
    /// # Errors
    /// A token is needed.
    pub fn check_open(&self, open_ingest: bool, headers: &HeaderMap, media: &str) -> Result<()> {
        if self.caller.principal.via != "direct" {
            return Ok(());
        }
        if !open_ingest {
            return Err(Problem::unauthorized(
                "a token is needed: `[web] open_ingest = no` in instance/helm.conf refuses entries without one",
            ));
        }
        if cross_site::is_of_a_page(headers) || OF_FORMS.contains(&media) {
            return Err(Problem::unauthorized(
                "a token is needed: without one nothing is taken from a page, nor in a form that a page can send (Content-Type: application/json, application/x-ndjson …)",
            ));
        }
        Ok(())
    }

    /// The service that all of its entries belong to, whatever they say.
    #[must_use]
    pub fn calling(&self) -> Option<&str> {
        (self.caller.principal.via == "service").then_some(self.caller.principal.subject.as_str())
    }

    /// Whose log its entries belong to, where they say `named`.
    #[must_use]
    pub fn service_of<'a>(&'a self, named: &'a str) -> &'a str {
        self.calling().unwrap_or(named)
    }

    /// Whose share of the gate it uses: each service's own, never an address's.
    #[must_use]
    pub fn share(&self, named: &str) -> String {
        let principal = &self.caller.principal;
        match principal.via.as_str() {
            "direct" => format!("direct/{named}"),
            via => format!("{via}/{}", principal.subject),
        }
    }

    /// Marks an entry, and gives it to the service that sends it.
    pub fn mark(&self, record: &mut Record) {
        let mut marks = self.marks.clone();
        if let Some(calling) = self.calling()
            && !record.service.is_empty()
            && record.service != calling
        {
            marks.push(("helm.service", Value::from(std::mem::take(&mut record.service))));
        }
        if !marks.is_empty() {
            record.context_json = with(&record.context_json, marks);
        }
    }
}

/// A context with these fields, in the place of what the sender itself said of them.
fn with(context: &str, marks: Vec<(&'static str, Value)>) -> String {
    let mut fields: Map<String, Value> = serde_json::from_str(context).unwrap_or_default();
    fields.extend(marks.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Value::Object(fields).to_string()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use helm_proto::v1::Principal;

    use super::*;

    fn sender(via: &str, subject: &str) -> Sender {
        let principal =
            Principal { via: via.to_owned(), subject: subject.to_owned(), ..Principal::default() };
        Sender::of(Caller::of(principal, None), Some(1000))
    }

    fn marked(sender: &Sender, service: &str, context: &str) -> (String, Value) {
        let (service, context_json) = (service.to_owned(), context.to_owned());
        let mut record = Record { service, context_json, ..Record::default() };
        sender.mark(&mut record);
        (record.service, serde_json::from_str(&record.context_json).unwrap_or(Value::Null))
    }

    #[test]
    fn what_comes_without_a_token_says_so_whatever_it_says_of_itself() {
        let (service, context) = marked(&sender("direct", ""), "codex", r#"{"auth":"admin","a":1}"#);
        assert_eq!(service, "codex");
        assert_eq!(context, serde_json::json!({"auth": "none", "uid": 1000, "a": 1}));
    }

    #[test]
    fn a_service_sends_as_itself_and_users_are_named() {
        let (service, context) = marked(&sender("service", "core"), "ledger", "");
        assert_eq!((service.as_str(), &context["helm.service"]), ("", &Value::from("ledger")));
        assert_eq!(marked(&sender("service", "core"), "", "").1, Value::Null);
        assert_eq!(marked(&sender("user", "u-1"), "x", "").1["sub"], "u-1");
    }

    #[test]
    fn without_a_token_nothing_is_taken_from_pages() {
        let none = HeaderMap::new();
        let mut page = HeaderMap::new();
        page.insert("sec-fetch-mode", HeaderValue::from_static("cors"));
        let direct = sender("direct", "");
        assert!(direct.check_open(true, &none, "application/json").is_ok());
        assert!(direct.check_open(false, &none, "application/json").is_err());
        assert!(direct.check_open(true, &page, "application/json").is_err());
        for media in OF_FORMS {
            assert!(direct.check_open(true, &none, media).is_err(), "{media}");
        }
        assert!(sender("service", "core").check_open(false, &page, "text/plain").is_ok());
    }
}
