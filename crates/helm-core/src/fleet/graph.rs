//! Who depends on whom, by index into the list of services.

use std::collections::BTreeMap;

use crate::name::ServiceName;
use crate::spec::ServiceSpec;

/// The edges that a stop follows.
#[derive(Debug)]
pub(super) struct Graph {
    by_name: BTreeMap<ServiceName, usize>,
    /// All that stop before it: what depends on it, also through others, and helm-web.
    stop_before: Vec<Vec<usize>>,
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
        let mut stop_before: Vec<_> = (0..specs.len()).map(|i| reachable(i, &direct)).collect();
        for web in (0..specs.len()).filter(|&i| specs[i].is_helm_web()) {
            first_of_all(web, &mut stop_before);
        }
        Self { by_name, stop_before }
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn stop_before(&self, i: usize) -> &[usize] {
        &self.stop_before[i]
    }
}

/// All others wait until `first` has stopped, but those that must stop before it themselves.
fn first_of_all(first: usize, stop_before: &mut [Vec<usize>]) {
    let sooner = stop_before[first].clone();
    for (i, before) in stop_before.iter_mut().enumerate() {
        let waits = i != first && !sooner.contains(&i);
        if let (true, Err(place)) = (waits, before.binary_search(&first)) {
            before.insert(place, first);
        }
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
