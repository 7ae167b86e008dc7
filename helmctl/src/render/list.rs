//! Definitions, events and faults for people.

use std::fmt::Write;

use helm_proto::v1::{EventRecord, ServiceInfo};

use super::status::state_style;
use super::{BAD, GOOD, HEAD, QUIET, Sheet, WARN, safe, styled, time};
use helm_shapes::fleet::Fault;

/// A longer name is cut on a terminal.
const WIDEST_NAME: usize = 20;

/// `list`
pub(crate) fn services(all: &[ServiceInfo], sheet: Sheet) -> String {
    let mut text = String::new();
    let name_width = sheet.column(all.iter().map(|s| s.name.len()).max().unwrap_or(0).max(4), 24);
    let head = format!("{:name_width$}  {:13}  {:>5}  DEPENDS ON", "NAME", "KIND", "PORT");
    let _ = writeln!(text, "{}", styled(HEAD, &head));
    for service in all {
        let dependency = |d: &helm_proto::v1::DependencyInfo| format!("{} ({})", d.service, d.condition);
        let depends = service.depends_on.iter().map(dependency).collect::<Vec<_>>().join(", ");
        let port = service.port.map_or_else(|| "-".to_owned(), |p| p.to_string());
        let line = format!(
            "{:name_width$}  {:13}  {port:>5}  {depends}",
            sheet.fit(&service.name, name_width),
            service.kind
        );
        let _ = writeln!(text, "{}", sheet.fit(line.trim_end(), sheet.width));
        let _ =
            writeln!(text, "{}", styled(QUIET, &format!("  {}", sheet.fit(&service.path, sheet.width - 2))));
    }
    text
}

/// Where names of services stand in a list of events: as wide as the longest of these, on a terminal not wider than a line bears.
pub(crate) fn name_width<'a>(names: impl Iterator<Item = &'a str>, sheet: Sheet) -> usize {
    sheet.column(names.map(|name| name.chars().count()).max().unwrap_or(0).max(4), WIDEST_NAME)
}

/// One event on one line, with its age where it is not one that happens now; without the name where that has no width.
pub(crate) fn event(e: &EventRecord, name_width: usize, sheet: Sheet, aged: bool) -> String {
    let at = e.at.as_ref().map(time::local).unwrap_or_default();
    let what = match e.kind.as_str() {
        "state" => format!("{} -> {}", e.from, styled(state_style(&e.to), &e.to)),
        "health" => format!("health {} -> {}", e.from, e.to),
        "exit" => format!("ended: {}", e.exit.as_deref().unwrap_or("unknown")),
        "wish" => format!("wanted: {}", e.to),
        "warning" if e.to.is_empty() => "warning is over".to_owned(),
        "warning" => format!("warning: {}", styled(WARN, &safe(&e.to))),
        "signal" => e.to.clone(),
        "incident" => styled(BAD, &format!("incident {}", e.to)),
        "store" => format!("log: {} -> {}", e.from, styled(if e.to == "ok" { GOOD } else { WARN }, &e.to)),
        other => format!("{other}: {} -> {}", e.from, e.to),
    };
    let cause =
        if e.cause.is_empty() { String::new() } else { format!("  {}", styled(QUIET, &safe(&e.cause))) };
    let missed = if e.missed > 0 { format!("({} events were missed) ", e.missed) } else { String::new() };
    let age = if aged { format!("{:>5}  ", time::ago(e.at.as_ref())) } else { String::new() };
    let name = match name_width {
        0 => String::new(),
        _ => format!("{:name_width$}  ", sheet.fit(&e.service, name_width)),
    };
    format!("{}  {age}{missed}{name}{what}{cause}", styled(QUIET, &at))
}

/// Faults, worst first is not helpful: in the order of the file.
pub(crate) fn faults(all: &[Fault]) -> String {
    let mut text = String::new();
    for fault in all {
        let place = if fault.line > 0 {
            format!("{}:{}:{}", fault.file, fault.line, fault.column)
        } else {
            fault.file.clone()
        };
        let field = if fault.field.is_empty() { String::new() } else { format!(" {}:", safe(&fault.field)) };
        let hint = if fault.hint.is_empty() { String::new() } else { format!(" ({})", safe(&fault.hint)) };
        let style = if fault.severity == "error" { BAD } else { WARN };
        let word = styled(style, &fault.severity);
        let _ = writeln!(text, "{place}: {word}:{field} {}{hint}", safe(&fault.message));
    }
    let errors = all.iter().filter(|f| f.severity == "error").count();
    let _ = writeln!(text, "{errors} error(s), {} warning(s)", all.len() - errors);
    text
}
