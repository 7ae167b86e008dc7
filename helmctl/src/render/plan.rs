//! Differences of configurations for people.

use std::fmt::Write;

use anstyle::Style;
use helm_proto::v1::{ConfigVersion, FieldChange, PlanResponse, ServiceChange};

use super::{BAD, GOOD, HEAD, QUIET, WARN, cut, safe, styled, time, wrapped};

/// `plan`
pub(crate) fn plan(plan: &PlanResponse, width: usize) -> String {
    if plan.services.is_empty() && plan.settings.is_empty() && plan.notes.is_empty() {
        return "Nothing to do: helmd runs by the files as they are.\n".to_owned();
    }
    let mut text = difference(plan, "A reload does this, in this order:", width);
    for note in &plan.notes {
        let _ = writeln!(text, "note: {}", safe(note));
    }
    text
}

/// `config diff`
pub(crate) fn difference(plan: &PlanResponse, head: &str, width: usize) -> String {
    if plan.services.is_empty() && plan.settings.is_empty() {
        return format!("{head} no difference in what the files mean\n");
    }
    let mut text = format!("{}\n", styled(HEAD, head));
    for change in in_order(&plan.services) {
        service(&mut text, change, width);
    }
    if !plan.settings.is_empty() {
        let _ = writeln!(text, "{} instance/helm.conf: in force at once", styled(WARN, "~"));
        plan.settings.iter().for_each(|change| field(&mut text, change, false, width));
    }
    text
}

/// As it is done: stops, restarts, starts; then what nothing is done to.
fn in_order(services: &[ServiceChange]) -> impl Iterator<Item = &ServiceChange> {
    let steps: [&[&str]; 4] = [&["stop"], &["restart"], &["start"], &["live", "later", ""]];
    steps.into_iter().flat_map(|step| services.iter().filter(|s| step.contains(&s.action.as_str())))
}

fn service(text: &mut String, change: &ServiceChange, width: usize) {
    let (mark, style): (&str, Style) = match change.kind.as_str() {
        "added" => ("+", GOOD),
        "removed" => ("-", BAD),
        _ => ("~", WARN),
    };
    let what = match change.message.as_str() {
        "" => change.kind.clone(),
        message => safe(message),
    };
    let _ = writeln!(text, "{} {}: {what}", styled(style, mark), styled(HEAD, &change.name));
    let fresh = change.kind == "added";
    change.fields.iter().for_each(|change| field(text, change, fresh, width));
}

/// `fresh`: there was nothing before, so that need not be said.
fn field(text: &mut String, change: &FieldChange, fresh: bool, width: usize) {
    let value =
        |value: &Option<String>| value.as_ref().map_or_else(|| "(not given)".to_owned(), |value| safe(value));
    let name = &change.field;
    let line = match (&change.old, &change.new) {
        (None, new) if fresh => format!("{name}  {}", value(new)),
        (old, new) => format!("{name}  {} -> {}", value(old), value(new)),
    };
    let mut lines = match (&change.old, &change.new) {
        // One below the other, whole: the difference may be at the end.
        (Some(old), new) if line.chars().count() + 4 > width => {
            vec![name.clone(), format!("  from {}", safe(old)), format!("  to   {}", value(new))]
        }
        (_, _) => vec![line],
    };
    if change.old == change.new {
        lines.push("  it changed: what is different is a secret, and not shown".to_owned());
    }
    for line in lines {
        let _ = writeln!(text, "    {}", styled(QUIET, &line));
    }
}

/// `config history`
pub(crate) fn history(versions: &[ConfigVersion], width: usize) -> String {
    let mut text = format!("{}\n", styled(HEAD, &format!("{:>6}  {:23}  WHAT", "NUMBER", "WHEN")));
    for version in versions {
        let at = version.at.as_ref().map(time::local).unwrap_or_default();
        let line = format!("{}, by {}", safe(&version.why), safe(&version.by));
        let line = cut(&line, width.saturating_sub(33).max(20));
        let state = if version.current { styled(GOOD, "  in force") } else { String::new() };
        let _ = writeln!(text, "{:>6}  {at:23}  {line}{state}", version.number);
        if version.refused.is_empty() {
            continue;
        }
        // Whole: it stands nowhere else. A command is not broken.
        let why =
            wrapped(&safe(&format!("taken back: {}", version.refused)), width.saturating_sub(8).max(20));
        for line in why.into_iter().chain(version.next.iter().map(|next| safe(next))) {
            let _ = writeln!(text, "{:8}{}", "", styled(WARN, &line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, kind: &str, action: &str) -> ServiceChange {
        ServiceChange {
            name: name.into(),
            kind: kind.into(),
            action: action.into(),
            message: format!("is {action}"),
            fields: vec![FieldChange {
                field: "env.PORT".into(),
                old: Some("1".into()),
                new: Some("2".into()),
                need: "restart".into(),
            }],
        }
    }

    #[test]
    fn what_is_done_comes_in_the_order_in_which_it_is_done() {
        let plan_of = |services| PlanResponse { ok: true, services, ..PlanResponse::default() };
        let text = plan(
            &plan_of(vec![
                change("a", "changed", "live"),
                change("new", "added", "start"),
                change("b", "changed", "restart"),
                change("old", "removed", "stop"),
            ]),
            80,
        );
        let text = anstream::adapter::strip_str(&text).to_string();
        let names: Vec<&str> =
            text.lines().filter_map(|l| l.split(": is").next().filter(|n| *n != l)).collect();
        assert_eq!(names, ["- old", "~ b", "+ new", "~ a"], "{text}");
        assert!(text.contains("    env.PORT  1 -> 2"), "{text}");
        assert!(plan(&plan_of(Vec::new()), 80).starts_with("Nothing to do"));
    }
}
