//! Who of those that a reload changed is not well, and what is said of them.

use helm_core::goal::{Trials, Verdict};
use helm_core::name::ServiceName;
use helm_core::status::State;

use crate::clock;
use crate::supervisor::{FleetView, Pursuit};

/// Of those that did not become healthy, so many are told with what they said.
const TOLD: usize = 3;

/// One that is not well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lack {
    /// Who.
    pub name: ServiceName,
    /// What it lacks.
    pub words: String,
    /// It waits for others.
    pub blocked: bool,
}

/// Who keeps those waiting that wait for others; all of them, where that is nobody.
pub(super) fn to_blame(pending: Vec<Lack>) -> Vec<Lack> {
    let (blocked, own): (Vec<Lack>, Vec<Lack>) = pending.into_iter().partition(|lack| lack.blocked);
    if own.is_empty() { blocked } else { own }
}

/// All that went wrong, on one line. Beyond a few, numbers say more than words.
pub(super) fn in_words(trouble: &[String], lacks: &[Lack]) -> String {
    let all =
        trouble.iter().cloned().chain(lacks.iter().map(|lack| format!("{}: {}", lack.name, lack.words)));
    let mut told: Vec<String> = all.take(TOLD).collect();
    let more = (trouble.len() + lacks.len()).saturating_sub(TOLD);
    told.extend((more > 0).then(|| format!("and {more} more (helmctl incidents)")));
    told.join("; ")
}

/// What is still to come and what has failed. What an operator stopped meanwhile is not asked for any more.
pub(super) fn lacking(pursuits: &[Pursuit], view: &FleetView, trials: &mut Trials) -> (Vec<Lack>, Vec<Lack>) {
    let (mut pending, mut failed) = (Vec::new(), Vec::new());
    for pursuit in pursuits {
        let Some(status) = view.get(pursuit.name.as_str()).filter(|status| status.wanted) else { continue };
        let blocked = status.state == State::Blocked && !status.waits_for.is_empty();
        let lack = |words| Lack { name: pursuit.name.clone(), words, blocked };
        match trials.judge(&pursuit.goal, status, &pursuit.at_begin, clock::mono()) {
            Verdict::Done(_) => {}
            Verdict::Pending(words) => pending.push(lack(words)),
            Verdict::Failed(words) | Verdict::Skipped(words) => failed.push(lack(words)),
        }
    }
    (pending, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lack(name: &str, blocked: bool) -> Lack {
        Lack { name: ServiceName::new(name).unwrap(), words: "does not run".into(), blocked }
    }

    #[test]
    fn who_waits_for_another_is_not_to_blame() {
        let (db, web) = (lack("db", false), lack("web", true));
        assert_eq!(to_blame(vec![web.clone(), db.clone()]), [db]);
        assert_eq!(to_blame(vec![web.clone()]), [web], "what it waits for was not changed");
    }

    #[test]
    fn of_many_the_first_are_told_and_the_rest_counted() {
        let lacks = ["a", "b", "c", "d"].map(|name| lack(name, false));
        assert_eq!(in_words(&[], &lacks[..1]), "a: does not run");
        let words = in_words(&["refused".into()], &lacks);
        assert_eq!(words, "refused; a: does not run; b: does not run; and 2 more (helmctl incidents)");
        assert_eq!(in_words(&[], &[]), "");
    }
}
