//! What a doctor found, for people and as JSON.

use std::fmt::Write;

use helm_core::doctor::{Finding, Weight};
use serde::Serialize;

use super::{BAD, GOOD, HEAD, QUIET, Sheet, WARN, safe, styled};

/// Evidence stands this far in.
const INDENT: usize = 6;

/// `doctor --json`
#[derive(Debug, Serialize)]
pub(crate) struct Found<'a> {
    checks: u32,
    faults: usize,
    warnings: usize,
    findings: Vec<One<'a>>,
}

#[derive(Debug, Serialize)]
struct One<'a> {
    id: &'static str,
    /// A service, or null.
    service: Option<&'a str>,
    area: &'static str,
    weight: Weight,
    what: &'a str,
    evidence: &'a [String],
    mend: Option<&'a str>,
    /// What `--fix` would do.
    fix: Option<String>,
}

impl<'a> Found<'a> {
    pub(crate) fn new(findings: &'a [Finding], checks: u32) -> Self {
        let one = |finding: &'a Finding| One {
            id: finding.id.as_str(),
            service: finding.service.as_ref().map(|name| name.as_str()),
            area: finding.id.area().as_str(),
            weight: finding.weight,
            what: &finding.what,
            evidence: &finding.evidence,
            mend: finding.mend.as_deref(),
            fix: finding.fix.as_ref().map(ToString::to_string),
        };
        Self {
            checks,
            faults: count(findings, Weight::Fault),
            warnings: count(findings, Weight::Warning),
            findings: findings.iter().map(one).collect(),
        }
    }
}

fn count(findings: &[Finding], weight: Weight) -> usize {
    findings.iter().filter(|finding| finding.weight == weight).count()
}

/// `doctor`: grouped by what it is about, in the order in which it was found. Commands are never broken, so that they can
/// be copied.
pub(crate) fn found(findings: &[Finding], checks: u32, sheet: Sheet) -> String {
    let (faults, warnings) = (count(findings, Weight::Fault), count(findings, Weight::Warning));
    if findings.is_empty() {
        return format!("{}\n", styled(GOOD, &format!("nothing wrong found ({checks} checks)")));
    }
    let mut groups: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for finding in findings {
        let group = group(finding);
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, members)) => members.push(finding),
            None => groups.push((group, vec![finding])),
        }
    }
    let mut text = String::new();
    for (name, members) in groups {
        let _ = writeln!(text, "{}", styled(HEAD, name));
        members.iter().for_each(|finding| one(&mut text, finding, sheet));
        text.push('\n');
    }
    let sum = [number(faults, "fault"), number(warnings, "warning")];
    let sum: Vec<String> = sum.into_iter().flatten().collect();
    let _ = writeln!(text, "{} ({checks} checks)", sum.join(", "));
    if findings.iter().any(|finding| finding.fix.is_some()) {
        let _ = writeln!(text, "{}", styled(QUIET, "helmctl doctor --fix does some of it, after asking"));
    }
    text
}

fn group(finding: &Finding) -> &str {
    finding.service.as_ref().map_or(finding.id.area().as_str(), |name| name.as_str())
}

fn one(text: &mut String, finding: &Finding, sheet: Sheet) {
    let (style, word) = match finding.weight {
        Weight::Fault => (BAD, "fault"),
        Weight::Warning => (WARN, "warning"),
    };
    let _ = writeln!(
        text,
        "  {} {} {}",
        styled(style, &format!("{word}:")),
        safe(&finding.what),
        styled(QUIET, &format!("[{}]", finding.id))
    );
    for seen in &finding.evidence {
        for line in sheet.lines(&safe(seen), INDENT) {
            let _ = writeln!(text, "{:INDENT$}{line}", "");
        }
    }
    if let Some(mend) = &finding.mend {
        let _ = writeln!(text, "    mend: {}", safe(mend));
    }
}

fn number(count: usize, what: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        count => Some(format!("{count} {what}s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helm_core::doctor::Id;
    use helm_core::name::ServiceName;

    #[test]
    fn findings_are_grouped_and_counted() {
        let core = ServiceName::new("core").unwrap();
        let findings = [
            Finding::fault(Id::VenvMissing, "no venv").seen("/c is not there").mend("make it").of(&core),
            Finding::warning(Id::StaleSocket, "a socket"),
            Finding::fault(Id::JwtKeys, "no keys").of(&core),
        ];
        let text = anstream::adapter::strip_str(&found(&findings, 9, Sheet::from(80))).to_string();
        let want = "core\n  fault: no venv [venv-missing]\n      /c is not there\n    mend: make it\n  fault: no keys [jwt-keys]\n\nhelmd\n  warning: a socket [stale-socket]\n\n2 faults, 1 warning (9 checks)\n";
        assert_eq!(text, want);
        let none = anstream::adapter::strip_str(&found(&[], 9, Sheet::from(80))).to_string();
        assert_eq!(none, "nothing wrong found (9 checks)\n");
    }
}
