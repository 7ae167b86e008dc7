//! Who depends on whom, by index into the list of services.

use std::collections::BTreeMap;

use crate::name::ServiceName;
use crate::spec::ServiceSpec;

/// The edges that a stop follows.
#[derive(Debug)]
pub(super) struct Graph {
    by_name: BTreeMap<ServiceName, usize>,
    /// All that depend on it, also through others.
    dependents: Vec<Vec<usize>>,
}

impl Graph {
    pub(super) fn new(specs: &[ServiceSpec]) -> Self {
        let by_name: BTreeMap<_, _> =
            specs.iter().enumerate().map(|(i, spec)| (spec.name.clone(), i)).collect();
        let mut direct = vec![Vec::new(); specs.len()];
        for (i, spec) in specs.iter().enumerate() {
            for on in spec.depends_on.iter().filter_map(|edge| by_name.get(&edge.service)) {
                direct[*on].push(i);
            }
        }
        let dependents = (0..specs.len()).map(|i| reachable(i, &direct)).collect();
        Self { by_name, dependents }
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn dependents(&self, i: usize) -> &[usize] {
        &self.dependents[i]
    }
}

/// Everything that can be reached from `start`, without `start` (a cycle is refused by the reader; here it must only
/// not hang).
fn reachable(start: usize, edges: &[Vec<usize>]) -> Vec<usize> {
    let mut seen = vec![false; edges.len()];
    seen[start] = true;
    let mut todo = vec![start];
    let mut found = Vec::new();
    while let Some(i) = todo.pop() {
        for &next in &edges[i] {
            if !std::mem::replace(&mut seen[next], true) {
                found.push(next);
                todo.push(next);
            }
        }
    }
    found.sort_unstable();
    found
}
