//! What keeps the limits of services, for people.

use anstyle::Style;
use helm_proto::v1::{Limit, ServiceStatus};

use super::{HEAD, QUIET, Sheet, WARN, safe, styled};

/// One line for each limit, below a line for each service that has some; nothing where there are none.
pub(crate) fn table(services: &[ServiceStatus], sheet: Sheet) -> String {
    let with = services.iter().filter(|service| !service.limits.is_empty());
    with.flat_map(|service| {
        let head = styled(HEAD, &format!("limits of {}", safe(&service.name)));
        std::iter::once(head).chain(service.limits.iter().flat_map(move |limit| line(limit, sheet)))
    })
    .map(|line| line + "\n")
    .collect()
}

fn line(limit: &Limit, sheet: Sheet) -> Vec<String> {
    let (name, style): (String, Style) =
        (limit.name.replace('_', " "), if limit.means == "none" { WARN } else { QUIET });
    let begin = format!("  {name:10}  {:>7}  ", safe(&limit.value));
    let room = sheet.width.saturating_sub(begin.chars().count());
    let words = super::wrapped(&safe(&limit.words), room);
    let indent = " ".repeat(begin.chars().count());
    let lines = words.into_iter().enumerate();
    lines
        .map(|(nth, words)| format!("{}{}", if nth == 0 { &begin } else { &indent }, styled(style, &words)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_says_what_keeps_it() {
        let limit = |name: &str, value: &str, means: &str, words: &str| Limit {
            name: name.into(),
            value: value.into(),
            means: means.into(),
            words: words.into(),
        };
        let lost =
            "not in force: there is no cgroup tree with the cpu controller (docs/AUTOSTART.md makes one)";
        let limits = vec![
            limit("memory", "512M", "cgroup", "cgroup (memory.max)"),
            limit("cpu_weight", "50", "none", lost),
        ];
        let web = ServiceStatus { name: "web".into(), limits, ..Default::default() };
        let text = table(&[web, ServiceStatus::default()], Sheet { width: 80, whole: false });
        let text = anstream::adapter::strip_str(&text).to_string();
        insta::assert_snapshot!(text, @r"
        limits of web
          memory         512M  cgroup (memory.max)
          cpu weight       50  not in force: there is no cgroup tree with the cpu
                               controller (docs/AUTOSTART.md makes one)
        ");
    }
}
