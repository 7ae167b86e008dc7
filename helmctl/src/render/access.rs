//! Tokens, sessions and the audit trail for people.

use std::fmt::Write;

use helm_proto::v1::{ApiToken, AuditEntry, LocalSession, Principal};

use super::{BAD, GOOD, HEAD, QUIET, Sheet, safe, styled, time};

/// `token list`
pub(crate) fn tokens(all: &[ApiToken], sheet: Sheet) -> String {
    let mut text = String::new();
    let width = sheet.column(all.iter().map(|t| t.name.chars().count()).max().unwrap_or(0).max(4), 20);
    let head = format!(
        "{:12}  {:width$}  {:10}  {:>4}  {:>5}  {:16}  SERVICES",
        "ID", "NAME", "MAY", "AGE", "USED", "EXPIRES"
    );
    let _ = writeln!(text, "{}", styled(HEAD, &head));
    for token in all {
        let may = if token.purpose.is_empty() { &token.role } else { &token.purpose };
        let expires = token.expires_at.as_ref().map_or_else(|| "never".to_owned(), time::local_to_minute);
        let services = if token.services.is_empty() { "all".to_owned() } else { token.services.join(", ") };
        let line = format!(
            "{:12}  {:width$}  {may:10}  {:>4}  {:>5}  {expires:16}  {services}",
            token.id,
            sheet.fit(&safe(&token.name), width),
            time::ago(token.created_at.as_ref()),
            time::ago(token.used_at.as_ref()),
        );
        let _ = writeln!(text, "{}", sheet.fit(&line, sheet.width));
    }
    text
}

/// `audit`
pub(crate) fn audit(all: &[AuditEntry], sheet: Sheet) -> String {
    let mut text = String::new();
    for entry in all {
        let style = match entry.outcome.as_str() {
            "failed" | "refused" => BAD,
            "done" => GOOD,
            _ => QUIET,
        };
        let at = time::local_to_second(entry.at);
        let targets = safe(&entry.targets.join(", "));
        let what = format!("{} {targets}", entry.what);
        let _ = writeln!(
            text,
            "{at}  {}  {}",
            styled(style, &format!("{:7}", entry.outcome)),
            sheet.fit(&what, sheet.width.saturating_sub(30))
        );
        let by = entry.principal.as_ref().map_or_else(|| entry.peer.clone(), |p| by(p, &entry.peer));
        let message = if entry.outcome == "intent" { String::new() } else { safe(&entry.message) };
        let line = if message.is_empty() { safe(&by) } else { format!("{}: {message}", safe(&by)) };
        for line in sheet.lines(&line, 4) {
            let _ = writeln!(text, "    {}", styled(QUIET, &line));
        }
    }
    text
}

/// "Ada (user 5f3c), request 7c2f, through uid 1000 pid 12 (helm-web)"
fn by(principal: &Principal, peer: &str) -> String {
    let who = match (principal.name.as_str(), principal.subject.as_str()) {
        ("", "") => principal.via.clone(),
        ("", subject) => format!("{} {subject}", principal.via),
        (name, _) => format!("{name} ({} {})", principal.via, principal.subject),
    };
    let request = match principal.request_id.as_str() {
        "" => String::new(),
        id => format!(", request {id}"),
    };
    format!("{who}{request}, through {peer}")
}

/// `session list`
pub(crate) fn sessions(all: &[LocalSession], sheet: Sheet) -> String {
    let mut text = String::new();
    let head = format!("{:12}  {:16}  {:>4}  {:>5}  {:16}  CLIENT", "ID", "USER", "AGE", "USED", "ENDS");
    let _ = writeln!(text, "{}", styled(HEAD, &head));
    for session in all {
        let user =
            if session.user.is_empty() { format!("uid {}", session.uid) } else { session.user.clone() };
        let ends = session.expires_at.as_ref().map(time::local_to_minute).unwrap_or_default();
        let line = format!(
            "{:12}  {:16}  {:>4}  {:>5}  {ends:16}  {}",
            session.id,
            sheet.fit(&safe(&user), 16),
            time::ago(session.created_at.as_ref()),
            time::ago(session.used_at.as_ref()),
            safe(&session.agent),
        );
        let _ = writeln!(text, "{}", sheet.fit(&line, sheet.width));
    }
    text
}
