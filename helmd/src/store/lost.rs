//! What was damaged in the life of this helmd, in words: each once, and bounded, for a disk that goes bad does so again and again.

use std::collections::VecDeque;

/// So many are told, the newest.
const TOLD: usize = 16;

/// The damage, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Lost {
    newest: VecDeque<String>,
    all: usize,
}

impl Lost {
    /// Takes in what was found now; what is told already counts once.
    pub fn add(&mut self, found: impl IntoIterator<Item = String>) {
        for words in found {
            if self.newest.contains(&words) {
                continue;
            }
            if self.newest.len() == TOLD {
                self.newest.pop_front();
            }
            self.newest.push_back(words);
            self.all += 1;
        }
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.all
    }

    /// Those behind the first `count`, as far as they are kept.
    pub fn behind(&self, count: usize) -> impl Iterator<Item = &String> {
        let gone = self.all - self.newest.len();
        self.newest.iter().skip(count.saturating_sub(gone))
    }

    /// What people are told.
    pub fn told(&self) -> Vec<String> {
        let gone = self.all - self.newest.len();
        let older = (gone > 0).then(|| {
            format!(
                "files were damaged {gone} times before that: logs/helmd.log names each; look at the disk"
            )
        });
        self.newest.iter().cloned().chain(older).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_told_each_once_and_how_many_there_were_before() {
        let mut lost = Lost::default();
        lost.add((0..TOLD).map(|n| n.to_string()));
        lost.add(["3".to_owned()]);
        assert_eq!((lost.told().len(), lost.count()), (TOLD, TOLD));
        lost.add(["new".to_owned(), "newer".to_owned()]);
        assert_eq!(lost.behind(TOLD).collect::<Vec<_>>(), ["new", "newer"]);
        assert_eq!((lost.behind(0).count(), lost.behind(lost.count()).count()), (TOLD, 0));
        let told = lost.told();
        assert_eq!((told[0].as_str(), told[TOLD - 1].as_str()), ("2", "newer"));
        assert!(told[TOLD].contains("2 times before"), "{told:?}");
    }
}
