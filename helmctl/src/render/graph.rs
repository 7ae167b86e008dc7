//! Who needs whom: as text, Mermaid, SVG.

use std::fmt::Write;

use helm_proto::v1::ServiceInfo;
use serde::Serialize;

/// One dependency: `from` needs `to`.
#[derive(Debug, Serialize)]
pub(crate) struct Edge {
    from: String,
    to: String,
    condition: String,
}

/// Services and what they need, in the order of services.json.
#[derive(Debug, Serialize)]
pub(crate) struct Graph {
    services: Vec<String>,
    edges: Vec<Edge>,
}

impl Graph {
    /// Of what helmd lists.
    pub(crate) fn of(services: Vec<ServiceInfo>) -> Self {
        let edges = services.iter().flat_map(|service| {
            service.depends_on.iter().map(|dependency| Edge {
                from: service.name.clone(),
                to: dependency.service.clone(),
                condition: dependency.condition.clone(),
            })
        });
        Self { edges: edges.collect(), services: services.into_iter().map(|s| s.name).collect() }
    }

    fn needs<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Edge> {
        self.edges.iter().filter(move |edge| edge.from == name)
    }

    /// A tree below each service that nobody needs; what stands elsewhere already is not spread out again.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut told = Vec::new();
        let needed = |name: &String| self.edges.iter().any(|edge| edge.to == *name);
        for root in self.services.iter().filter(|name| !needed(name)) {
            let _ = writeln!(text, "{root}");
            self.branches(root, "", &mut told, &mut text);
        }
        text
    }

    fn branches<'a>(&'a self, name: &'a str, before: &str, told: &mut Vec<&'a str>, text: &mut String) {
        if told.contains(&name) {
            return;
        }
        told.push(name);
        let all: Vec<&Edge> = self.needs(name).collect();
        for (nth, edge) in all.iter().enumerate() {
            let (branch, below) =
                if nth + 1 == all.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let again = told.contains(&edge.to.as_str()) && self.needs(&edge.to).next().is_some();
            let again = if again { " …" } else { "" };
            let _ = writeln!(text, "{before}{branch}{} ({}){again}", edge.to, edge.condition);
            self.branches(&edge.to, &format!("{before}{below}"), told, text);
        }
    }

    /// For documents: mermaid.js.org.
    pub(crate) fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let id = |name: &str| self.services.iter().position(|service| service == name).unwrap_or(0);
        // Names that are words of Mermaid (`end`) stand in quotes behind a number.
        for (nth, name) in self.services.iter().enumerate() {
            let _ = writeln!(text, "    s{nth}[\"{name}\"]");
        }
        for edge in &self.edges {
            let _ = writeln!(text, "    s{} -->|{}| s{}", id(&edge.from), edge.condition, id(&edge.to));
        }
        text
    }

    /// Columns by depth: whoever needs nothing stands at the right.
    fn depth(&self, name: &str, ahead: usize) -> usize {
        // A ring is a fault of the configuration, and is not run with; this ends all the same.
        if ahead == 0 {
            return 0;
        }
        self.needs(name).map(|edge| 1 + self.depth(&edge.to, ahead - 1)).max().unwrap_or(0)
    }

    /// A picture.
    pub(crate) fn svg(&self) -> String {
        let depths: Vec<usize> =
            self.services.iter().map(|name| self.depth(name, self.services.len())).collect();
        let deepest = depths.iter().copied().max().unwrap_or(0);
        let longest = self.services.iter().map(String::len).max().unwrap_or(0);
        let (wide, gap) = (longest * 8 + 24, 90);
        let mut taken = vec![0; deepest + 1];
        let mut places = Vec::new();
        for depth in depths {
            places.push((20 + (deepest - depth) * (wide + gap), 20 + taken[depth] * 52));
            taken[depth] += 1;
        }
        let width = 40 + (deepest + 1) * wide + deepest * gap;
        let height = 20 + taken.iter().copied().max().unwrap_or(0) * 52;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"monospace\" font-size=\"13\">\n\
             <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\"/></marker></defs>\n"
        );
        let place = |name: &str| self.services.iter().position(|n| n == name).and_then(|nth| places.get(nth));
        for edge in &self.edges {
            let (Some((x1, y1)), Some((x2, y2))) = (place(&edge.from), place(&edge.to)) else { continue };
            let (x1, y1, y2) = (x1 + wide, y1 + 16, y2 + 16);
            let _ = writeln!(
                text,
                "<path d=\"M{x1} {y1} C{} {y1} {} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#777\" marker-end=\"url(#tip)\"><title>{} needs {} ({})</title></path>",
                x1 + gap / 2,
                x2.saturating_sub(gap / 2),
                edge.from,
                edge.to,
                edge.condition
            );
        }
        for (name, (x, y)) in self.services.iter().zip(&places) {
            let _ = writeln!(
                text,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"32\" rx=\"6\" fill=\"#eef\" stroke=\"#447\"/><text x=\"{}\" y=\"{}\">{name}</text>",
                x + 12,
                y + 21
            );
        }
        text + "</svg>\n"
    }
}

#[cfg(test)]
mod tests {
    use helm_proto::v1::DependencyInfo;

    use super::*;

    fn graph() -> Graph {
        let service = |name: &str, needs: &[(&str, &str)]| ServiceInfo {
            name: name.into(),
            depends_on: needs
                .iter()
                .map(|(service, condition)| DependencyInfo {
                    service: (*service).into(),
                    condition: (*condition).into(),
                })
                .collect(),
            ..Default::default()
        };
        Graph::of(vec![
            service("db", &[]),
            service("core", &[("db", "healthy")]),
            service("end", &[("core", "ready"), ("db", "started")]),
            service("web", &[("core", "ready")]),
            service("alone", &[]),
        ])
    }

    #[test]
    fn as_text() {
        insta::assert_snapshot!(graph().text());
    }

    #[test]
    fn as_mermaid() {
        insta::assert_snapshot!(graph().mermaid());
    }

    #[test]
    fn as_a_picture_with_each_service_at_a_place_of_its_own() {
        let svg = graph().svg();
        let mut places: Vec<&str> = svg
            .lines()
            .filter_map(|l| l.strip_prefix("<rect "))
            .filter_map(|l| l.split(" width").next())
            .collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!((places.len(), svg.matches("marker-end").count()), (5, 4));
        assert!(svg.ends_with("</svg>\n") && svg.contains("<title>end needs core (ready)</title>"));
    }
}
