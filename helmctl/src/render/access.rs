//! Tokens and sessions for people.

use std::fmt::Write;

use helm_proto::v1::{ApiToken, LocalSession};

use super::{HEAD, Sheet, safe, styled, time};

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
