//! What holds between services: dependencies, cycles, ports.

use std::collections::BTreeMap;

use super::fault::{Doc, meant, quoted};
use super::group::Edge;
use super::registry::Registry;
use super::resolve::Entry;
use super::{Condition, Dependency, OutsideCheck, Probes, RestartPolicy, ServiceSpec};

/// Fills in `depends_on` and `outside` of every service, and reports what cannot be. `specs` and `entries` go together.
pub(super) fn connect(specs: &mut [ServiceSpec], entries: &[Entry], registry: &Registry, doc: &mut Doc<'_>) {
    let index: BTreeMap<String, usize> =
        specs.iter().enumerate().map(|(i, s)| (s.name.as_str().to_owned(), i)).collect();
    let mut graph = Graph { index, edges: Vec::with_capacity(specs.len()) };
    for entry in entries {
        let edges = graph.edges_of(specs, entries, entry, registry, doc);
        graph.edges.push(edges);
    }
    for (i, spec) in specs.iter_mut().enumerate() {
        let of = |edge: &To| Dependency { service: entries[edge.to].name.clone(), condition: edge.condition };
        spec.depends_on = graph.edges[i].iter().map(of).collect();
        spec.outside = outside(&entries[i], registry, &graph.index);
    }
    check_cycles(&graph, entries, doc);
    check_conditions(&graph, specs, entries, doc);
    check_ports(specs, entries, doc);
}

struct Graph {
    index: BTreeMap<String, usize>,
    edges: Vec<Vec<To>>,
}

/// An edge that holds.
struct To {
    to: usize,
    at: usize,
    condition: Condition,
}

impl Graph {
    fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.index.keys().map(String::as_str)
    }

    /// The edges that the operator wrote; where there are none, those of the registry as far as they can be met.
    fn edges_of(
        &self,
        specs: &[ServiceSpec],
        entries: &[Entry],
        entry: &Entry,
        registry: &Registry,
        doc: &mut Doc<'_>,
    ) -> Vec<To> {
        let Some(written) = &entry.raw.depends_on else { return self.default_edges(specs, entry, registry) };
        let mut edges: Vec<To> = Vec::new();
        for edge in &written.it.0 {
            let place = entry.place("depends_on");
            match self.index.get(&edge.name) {
                Some(&to) if edges.iter().any(|e| e.to == to) => {
                    doc.error(edge.at, &place, format!("names {} twice", quoted(&edge.name)), "");
                }
                Some(&to) if is_directory(&specs[to], &entries[to]) => {
                    let message = format!(
                        "{} is a directory entry: Helm does not run it, so nobody can wait for it",
                        quoted(&edge.name)
                    );
                    doc.error(edge.at, &place, message, "take it away, or say what it runs");
                }
                Some(&to) => edges.push(To { to, at: edge.at, condition: edge.condition }),
                None if registry.outside(&edge.name).is_some() || doc.is_full() => {}
                // It may be the name of an outside service, unless it looks like one of ours.
                None if registry.unread && super::nearest(&edge.name, self.names()).is_none() => {}
                None => {
                    let names = self.names().chain(registry.names());
                    let hint = super::nearest(&edge.name, names).map_or_else(
                        || meant(&edge.name, self.names()),
                        |name| format!("did you mean `{name}`?"),
                    );
                    doc.error(edge.at, &place, format!("there is no service {}", quoted(&edge.name)), hint);
                }
            }
        }
        edges
    }

    fn default_edges(&self, specs: &[ServiceSpec], entry: &Entry, registry: &Registry) -> Vec<To> {
        let edges = default_edges(entry, registry).iter();
        let met = edges.filter_map(|edge| {
            let to = *self.index.get(&edge.name)?;
            let runs = specs[to].program.is_some() && edge.name != entry.name.as_str();
            runs.then_some(To { to, at: entry.at, condition: edge.condition })
        });
        met.collect()
    }
}

fn default_edges<'r>(entry: &Entry, registry: &'r Registry) -> &'r [Edge] {
    // helm-web is a client of helmd alone: it works while all else is missing, and says what is.
    let known = registry.get(entry.name.as_str(), entry.kind()).filter(|_| entry.helm_web().is_none());
    known.map(|k| k.edges.as_slice()).unwrap_or_default()
}

/// An entry that was never meant to run; one whose program is faulty has its fault already.
fn is_directory(spec: &ServiceSpec, entry: &Entry) -> bool {
    spec.program.is_none() && !entry.raw.faulty && !entry.has_command()
}

/// Dependencies that nobody here runs, but that can be knocked at.
fn outside(entry: &Entry, registry: &Registry, index: &BTreeMap<String, usize>) -> Vec<OutsideCheck> {
    let written = entry.raw.depends_on.as_ref().map(|w| w.it.0.as_slice()).unwrap_or_default();
    let mut checks: Vec<OutsideCheck> = Vec::new();
    for edge in default_edges(entry, registry).iter().chain(written) {
        let known = index.contains_key(&edge.name) || checks.iter().any(|c| c.name == edge.name);
        if let (false, Some(port)) = (known, registry.outside(&edge.name)) {
            checks.push(OutsideCheck { name: edge.name.clone(), port });
        }
    }
    checks
}

/// Each cycle is named once, as a path. Depth-first without recursion: a chain may be as long as the file allows.
fn check_cycles(graph: &Graph, entries: &[Entry], doc: &mut Doc<'_>) {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; entries.len()];
    for root in 0..entries.len() {
        if marks[root] != Mark::New {
            continue;
        }
        marks[root] = Mark::Open;
        // The path from the root, each with the next edge to follow.
        let mut path = vec![(root, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let Some(edge) = graph.edges[node].get(*next) else {
                marks[node] = Mark::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match marks[edge.to] {
                Mark::New => {
                    marks[edge.to] = Mark::Open;
                    path.push((edge.to, 0));
                }
                Mark::Open => {
                    let cycle = path.iter().map(|(n, _)| *n).skip_while(|n| *n != edge.to).chain([edge.to]);
                    let names: Vec<&str> = cycle.map(|n| entries[n].name.as_str()).collect();
                    let message = format!("goes in a circle: {}", names.join(" -> "));
                    doc.error(
                        edge.at,
                        &entries[node].place("depends_on"),
                        message,
                        "take one of these dependencies away",
                    );
                }
                Mark::Done => {}
            }
        }
    }
}

/// Conditions that can never hold.
fn check_conditions(graph: &Graph, specs: &[ServiceSpec], entries: &[Entry], doc: &mut Doc<'_>) {
    for (entry, edges) in entries.iter().zip(&graph.edges) {
        for edge in edges {
            let other = &specs[edge.to];
            let why = match edge.condition {
                Condition::Completed if other.restart == RestartPolicy::Always => {
                    "is started again whenever it ends, so it never completes"
                }
                Condition::Healthy if other.probes == Probes::default() => {
                    "has no probe, so it is never known to be healthy"
                }
                Condition::Started | Condition::Ready | Condition::Healthy | Condition::Completed => continue,
            };
            let hint = if edge.condition == Condition::Completed {
                "give it \"restart\": \"on-failure\""
            } else {
                ""
            };
            doc.warn(edge.at, &entry.place("depends_on"), format!("`{}` {why}", other.name), hint);
        }
    }
}

/// Two services cannot listen on one port.
fn check_ports(specs: &[ServiceSpec], entries: &[Entry], doc: &mut Doc<'_>) {
    let mut taken: BTreeMap<u16, usize> = BTreeMap::new();
    for (i, spec) in specs.iter().enumerate() {
        let Some(port) = spec.port.filter(|_| !is_directory(spec, &entries[i])) else { continue };
        let Some(first) = taken.insert(port, i) else { continue };
        let raw = &entries[i].raw;
        let (field, at) = match (&raw.port, &raw.url) {
            (Some(port), _) => ("port", port.at),
            (None, Some(url)) => ("url", url.at),
            (None, None) => ("port", entries[i].at),
        };
        let message = format!("port {port} belongs to `{}` already", specs[first].name);
        doc.error(at, &entries[i].place(field), message, "give each service a port of its own");
    }
}
