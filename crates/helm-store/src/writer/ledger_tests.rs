use super::*;
use crate::chain::tests::sample;

const ROLL: RollPolicy = RollPolicy { rows: 10, bytes: u64::MAX, age: 1_000 };

fn ledger() -> Ledger {
    Ledger::load(Instance(3), ROLL, Vec::new(), &[])
}

fn append(messages: &[&str]) -> Append {
    Append {
        class: Class::default_class(),
        entries: messages.iter().map(|m| sample(m)).collect(),
        cursors: Vec::new(),
        once: None,
        queue: None,
    }
}

fn sequence(number: u64) -> Append {
    Append { once: Some(Once::Sequence { sender: "s".into(), number }), ..append(&["x"]) }
}

/// Plans until all are answered, as the database would carry it out.
fn run(
    ledger: &mut Ledger,
    appends: Vec<Append>,
    now: i64,
) -> (Vec<Commit>, Vec<Result<Receipt, AppendError>>) {
    let (mut appends, mut commits, mut answers) = (VecDeque::from(appends), Vec::new(), Vec::new());
    while !appends.is_empty() {
        match ledger.plan(&Class::default_class(), &mut appends, now) {
            Step::Open(partition, _) => ledger.opened(*partition),
            Step::Write(planned) => {
                let Planned { commit, answers: given, paired } = *planned;
                answers.extend(given);
                commits.extend(commit.map(|mut commit| {
                    let kept = commit.clone();
                    ledger.committed(&mut commit, paired);
                    kept
                }));
            }
        }
    }
    (commits, answers)
}

fn rows(commits: &[Commit]) -> Vec<(u32, usize)> {
    commits.iter().map(|c| (c.partition.number, c.entries.len())).collect()
}

#[test]
fn a_clock_that_jumps_back_an_hour_sends_no_arrival_back_and_closes_nothing_early() {
    let hour = 3600 * 1_000_000_000;
    let roll = RollPolicy { age: 2 * hour, ..ROLL };
    let mut ledger = Ledger::load(Instance(3), roll, Vec::new(), &[]);
    let now = 100 * hour;
    let mut arrived = Vec::new();
    for at in [now, now - hour, now - hour + 1, now + 1] {
        let (commits, _) = run(&mut ledger, vec![append(&["x"])], at);
        arrived.extend(commits.iter().map(|c| (c.partition.number, c.arrived)));
    }
    assert_eq!(arrived, [(0, now), (0, now), (0, now), (0, now + 1)]);
}

#[test]
fn what_waits_shares_one_transaction() {
    let (commits, answers) = run(&mut ledger(), vec![append(&["a", "b"]), append(&["c"])], 5);
    assert_eq!(rows(&commits), [(0, 3)]);
    let partition = commits[0].partition;
    assert_eq!(answers[0].as_ref().unwrap().ids, Some((partition.entry(0), partition.entry(1))));
    assert_eq!(answers[1].as_ref().unwrap().ids, Some((partition.entry(2), partition.entry(2))));
    assert_eq!((commits[0].number, commits[0].arrived), (1, 5));
    assert_eq!(commits[0].counts.values().sum::<u64>(), 3);
}

#[test]
fn an_append_is_never_split_and_a_full_partition_is_closed() {
    let four = ["a", "b", "c", "d"];
    let mut ledger = ledger();
    let (commits, _) = run(&mut ledger, vec![append(&four), append(&four), append(&four)], 0);
    assert_eq!(rows(&commits), [(0, 8), (1, 4)]);
    let mut more = VecDeque::from([append(&["x"; 7])]);
    let Step::Open(new, Some((sealed, seal))) = ledger.plan(&Class::default_class(), &mut more, 0) else {
        panic!("the rest does not fit");
    };
    assert_eq!((sealed.number, new.id.number), (1, 2));
    assert_eq!((seal.head, new.before), (commits[1].head, commits[1].head));
    assert_eq!(more.len(), 1, "what was asked is still to be done");
}

#[test]
fn a_partition_ends_by_age_and_arrival_never_goes_back() {
    let mut ledger = ledger();
    run(&mut ledger, vec![append(&["a"])], 5_000);
    let (commits, _) = run(&mut ledger, vec![append(&["b"])], 10);
    assert_eq!((rows(&commits), commits[0].arrived), (vec![(0, 1)], 5_000));
    let (commits, _) = run(&mut ledger, vec![append(&["c"])], 6_000);
    assert_eq!(rows(&commits), [(1, 1)]);
}

#[test]
fn behind_a_clock_that_was_far_ahead_times_begin_anew_in_a_new_partition() {
    let day = 86_400 * 1_000_000_000;
    let mut ledger = Ledger::load(Instance(3), RollPolicy { age: day, ..ROLL }, Vec::new(), &[]);
    run(&mut ledger, vec![append(&["a"])], 70 * 365 * day);
    let now = 365 * day;
    let (commits, _) = run(&mut ledger, vec![append(&["b"]), append(&["c"])], now);
    assert_eq!((rows(&commits), commits[0].arrived), (vec![(1, 2)], now));
    for passed in 1..5 {
        let (commits, _) = run(&mut ledger, vec![append(&["d"])], now + passed * day);
        let partition = u32::try_from(passed).unwrap() + 1;
        assert_eq!((rows(&commits), commits[0].arrived), (vec![(partition, 1)], now + passed * day));
    }
}

#[test]
fn a_repetition_writes_nothing_also_within_one_group() {
    let mut ledger = ledger();
    let key = || Append { once: Some(Once::Key("k".into())), ..append(&["x"]) };
    let from_queue =
        |position| Append { queue: Some(Queued { position, parts: Vec::new() }), ..append(&["x"]) };
    let group = || {
        vec![sequence(1), sequence(1), sequence(3), sequence(2), key(), key(), from_queue(4), from_queue(4)]
    };
    let (commits, answers) = run(&mut ledger, group(), 0);
    let twice = |answers: &[Result<Receipt, AppendError>]| -> Vec<bool> {
        answers.iter().map(|a| a.as_ref().unwrap().duplicate).collect()
    };
    assert_eq!(twice(&answers), [false, true, false, false, false, true, false, true]);
    assert_eq!(rows(&commits), [(0, 5)]);
    let (commits, answers) = run(&mut ledger, group(), 0);
    assert!(commits.is_empty() && twice(&answers).into_iter().all(|d| d));
}

#[test]
fn what_cannot_be_kept_is_refused_alone() {
    let mut bad = append(&["good", "nul\0", "good"]);
    bad.entries.push(crate::entry::NewEntry { service: String::new(), ..sample("x") });
    let (commits, answers) = run(&mut ledger(), vec![bad, append(&["\0"])], 0);
    let receipt = answers[0].as_ref().unwrap();
    assert_eq!(receipt.refused.iter().map(|r| r.index).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(rows(&commits), [(0, 2)]);
    assert_eq!(answers[1].as_ref().unwrap().ids, None);
}

#[test]
fn names_of_services_are_bounded() {
    let mut ledger = Ledger::load(Instance(3), RollPolicy::default(), Vec::new(), &[]);
    let names = |from: usize, to: usize| Append {
        entries: (from..to)
            .map(|n| crate::entry::NewEntry { service: format!("s{n}"), ..sample("x") })
            .collect(),
        ..append(&[])
    };
    let (commits, answers) = run(&mut ledger, vec![names(0, SERVICES - 1), names(0, SERVICES + 1)], 0);
    let refused = &answers[1].as_ref().unwrap().refused;
    assert_eq!(refused.iter().map(|r| r.index).collect::<Vec<_>>(), [SERVICES]);
    assert_eq!(commits[0].contents.services.len(), SERVICES);
}

#[test]
fn a_line_that_was_sent_and_printed_has_a_twin_also_after_the_ledger_was_read_anew() {
    let sent = || {
        let mut sent = append(&["a", "b"]);
        sent.entries.iter_mut().for_each(|entry| entry.source = crate::entry::Source::Sent);
        sent
    };
    let flags = |commits: &[Commit]| -> Vec<u32> {
        commits.iter().flat_map(|c| &c.entries).map(|entry| entry.body.flags).collect()
    };
    let mut ledger = ledger();
    let (commits, _) = run(&mut ledger, vec![append(&["a"]), sent()], 0);
    assert_eq!(flags(&commits), [0, flag::TWIN, 0]);
    assert_eq!(commits[0].counts.values().sum::<u64>(), 2);
    let read = ledger.clone();
    ledger.reload(Ledger { twins: Twins::default(), ..read });
    let (commits, _) = run(&mut ledger, vec![append(&["b"])], 0);
    assert_eq!(flags(&commits), [flag::TWIN]);
}

#[test]
fn twins_are_not_counted() {
    let mut twin = append(&["a", "b"]);
    twin.entries[1].flags = flag::TWIN;
    let (commits, _) = run(&mut ledger(), vec![twin], 0);
    assert_eq!(commits[0].counts.values().sum::<u64>(), 1);
    assert_eq!(commits[0].contents.rows, 2);
}

#[test]
fn a_cursor_is_committed_without_entries() {
    let position = Position { segment: 2, offset: 9 };
    let mut ledger = ledger();
    let silent = Append { cursors: vec![("core".into(), position)], ..append(&[]) };
    let (commits, answers) = run(&mut ledger, vec![silent], 0);
    assert_eq!(commits[0].cursors["core"], position);
    assert_eq!(answers[0].as_ref().unwrap().ids, None);
    assert_eq!(ledger.cursor("core"), Some(position));
}

#[test]
fn a_commit_names_each_sender_once() {
    let (commits, _) = run(&mut ledger(), vec![sequence(1), sequence(2), sequence(5)], 0);
    let all: Vec<_> = commits.iter().flat_map(|commit| &commit.senders).collect();
    assert_eq!(all, [(&"s".to_owned(), &Numbers { last: 5, window: 0b11001, at: 0 })]);
}

#[test]
fn what_is_too_far_below_is_refused_unless_it_was_acknowledged() {
    let mut ledger = ledger();
    run(&mut ledger, vec![sequence(100)], 0);
    let (_, answers) = run(&mut ledger, vec![sequence(37), sequence(36)], 0);
    assert!(!answers[0].as_ref().unwrap().duplicate, "within the window it is known that it was not kept");
    assert_eq!(answers[1], Err(AppendError::Below { number: 36 }));
    let part = Part { entries: 1, once: Some(Once::Sequence { sender: "s".into(), number: 20 }) };
    let queued = Append { queue: Some(Queued { position: 9, parts: vec![part] }), ..append(&["x"]) };
    let (commits, _) = run(&mut ledger, vec![queued], 0);
    assert_eq!(commits[0].entries.len(), 1);
}

#[test]
fn a_sender_that_is_silent_for_a_month_is_forgotten_when_a_partition_begins() {
    let mut ledger = Ledger::load(Instance(3), RollPolicy { age: 1, ..ROLL }, Vec::new(), &[]);
    run(&mut ledger, vec![sequence(100)], 0);
    run(&mut ledger, vec![append(&["a"])], SENDER_AGE);
    let (_, answers) = run(&mut ledger, vec![sequence(100)], SENDER_AGE);
    assert!(answers[0].as_ref().unwrap().duplicate);
    run(&mut ledger, vec![append(&["a"])], SENDER_AGE + 1);
    let (_, answers) = run(&mut ledger, vec![sequence(1)], SENDER_AGE + 1);
    assert!(!answers[0].as_ref().unwrap().duplicate);
}

#[test]
fn more_keys_than_fit_come_again_and_helms_own_are_taken_in_any_case() {
    let keyed = |key: &str| Append { once: Some(Once::Key(key.into())), ..append(&["x"]) };
    let mut ledger = ledger();
    let mut all = vec![keyed("first")];
    all.extend((1..KEYS).map(|n| Append { entries: Vec::new(), ..keyed(&n.to_string()) }));
    run(&mut ledger, all, 0);
    let removed = format!("{OWN}removed-1");
    let (_, answers) = run(&mut ledger, vec![keyed("more"), keyed(&removed), keyed("first")], 9);
    let after = std::time::Duration::from_nanos(600_000_000_000 - 9);
    assert_eq!(answers[0], Err(AppendError::Keys { most: KEYS, after }));
    assert!(answers[1].as_ref().is_ok_and(|kept| !kept.duplicate));
    assert!(answers[2].as_ref().is_ok_and(|kept| kept.duplicate), "{:?}", answers[2]);
}

#[test]
fn a_sender_that_is_known_takes_no_place_of_a_new_one() {
    let named = |sender: &str, number| {
        let once = Once::Sequence { sender: sender.into(), number };
        Append { once: Some(once), ..append(&[]) }
    };
    let mut ledger = ledger();
    let all = SENDERS - 1;
    run(&mut ledger, (0..all).map(|n| named(&n.to_string(), 1)).collect(), 5);
    // All of them send again in the transaction that the last new one comes in.
    let again = (0..all).map(|n| named(&n.to_string(), 2));
    let (_, answers) = run(&mut ledger, again.chain([named("new", 1), named("beyond", 1)]).collect(), 6);
    let refused: Vec<usize> = (0..answers.len()).filter(|n| answers[*n].is_err()).collect();
    assert_eq!(refused, [all + 1]);
    assert_eq!(answers[all + 1], Err(AppendError::Senders { most: SENDERS }));
}
