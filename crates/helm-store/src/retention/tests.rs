use proptest::prelude::*;

use super::*;
use crate::chain::Head;
use crate::partition::{Contents, Seal};

const ONE: Instance = Instance(1);

fn partition(number: u32, class: &str, opened: i64, closed: Option<i64>, bytes: u64) -> Partition {
    Partition {
        id: PartitionId { instance: ONE, number },
        class: Class(class.into()),
        opened,
        before: Head::GENESIS,
        seal: closed.map(|closed| Seal { closed, head: Head::GENESIS }),
        contents: Contents { rows: 1, bytes, ..Contents::empty() },
        disk: 0,
    }
}

fn policies(default: Policy, audit: Policy) -> Policies {
    Policies { default, classes: BTreeMap::from([(Class("audit".into()), audit)]) }
}

const FOREVER: Policy = Policy { age: None, bytes: None, yields: false };

fn goes(partitions: &[Partition], policies: &Policies, disk: Disk, now: i64) -> Vec<(u32, Reason)> {
    decide(partitions, ONE, policies, disk, now).into_iter().map(|r| (r.partition.number, r.reason)).collect()
}

#[test]
fn what_is_old_or_too_much_goes_oldest_first() {
    let all = [
        partition(0, "default", 0, Some(10), 100),
        partition(1, "audit", 0, Some(15), 100),
        partition(2, "default", 10, Some(20), 100),
        partition(3, "default", 20, Some(30), 100),
        partition(4, "default", 30, None, 100),
    ];
    let no_matter = Disk::default();
    let aged = policies(Policy { age: Some(25), bytes: None, yields: true }, FOREVER);
    assert_eq!(goes(&all, &aged, no_matter, 40), [(0, Reason::Age)]);
    assert_eq!(goes(&all, &aged, no_matter, 1_000).len(), 3, "the open one and the other class stay");
    let bounded = policies(Policy { age: None, bytes: Some(250), yields: true }, FOREVER);
    assert_eq!(goes(&all, &bounded, no_matter, 40), [(0, Reason::Bytes), (2, Reason::Bytes)]);
    let kept = policies(Policy { age: None, bytes: None, yields: true }, FOREVER);
    assert_eq!(goes(&all, &kept, no_matter, i64::MAX), []);
    let full = Disk { free: 50, floor: 200 };
    assert_eq!(goes(&all, &kept, full, 40), [(0, Reason::Disk), (2, Reason::Disk)]);
}

#[test]
fn what_a_wrong_clock_noted_is_mended_from_the_neighbours() {
    let (ahead, behind) = (70_000, 5);
    let aged = policies(Policy { age: Some(100), bytes: None, yields: true }, FOREVER);
    let all = [
        partition(0, "default", 1_000, Some(1_010), 1),
        // Closed while the clock was ahead; then behind a reboot without a clock; then all is well.
        partition(1, "default", 1_010, Some(ahead), 1),
        partition(2, "default", 1_020, Some(1_050), 1),
        partition(3, "default", behind, Some(behind + 3), 1),
        partition(4, "default", 1_060, None, 1),
    ];
    let gone = |now| goes(&all, &aged, Disk::default(), now).len();
    assert_eq!([1_100, 1_111, 1_121, 1_150, 1_151].map(gone), [0, 1, 2, 2, 4]);
}

#[test]
fn what_came_before_the_clock_was_set_is_as_old_as_the_first_time_that_can_be_true() {
    let right = SINCE + 500 * DAY;
    let aged = policies(Policy { age: Some(90 * DAY), bytes: None, yields: true }, FOREVER);
    let all = [
        partition(0, "default", 5, Some(3_600), 1),
        partition(1, "default", 7, Some(8), 1),
        partition(2, "default", right, None, 1),
    ];
    let gone = |all: &[Partition], now| goes(all, &aged, Disk::default(), now).len();
    assert_eq!([right, right + 90 * DAY, right + 90 * DAY + 1].map(|now| gone(&all, now)), [0, 0, 2]);
    assert_eq!(gone(&all[..2], right), 0, "also where nothing came since");
    // Rows of the Python Helm say themselves when they came.
    let former = PartitionId { instance: Instance::FORMER, number: 0 };
    let rows = [Partition { id: former, ..partition(0, "default", 5, Some(8), 1) }];
    assert_eq!(decide(&rows, Instance::FORMER, &aged, Disk::default(), right).len(), 1);
}

#[test]
fn an_open_partition_with_old_entries_is_closed_first() {
    let aged = policies(Policy { age: Some(25), bytes: None, yields: true }, FOREVER);
    let open = [partition(0, "default", 0, None, 1), partition(1, "audit", 0, None, 1)];
    assert_eq!(rolls(&open, ONE, &aged, 25), []);
    assert_eq!(rolls(&open, ONE, &aged, 26), [Class("default".into())]);
}

#[test]
fn a_forecast_tells_how_long_and_how_much() {
    // A hundred bytes a day for ten days.
    let all: Vec<Partition> = (0..10)
        .map(|n| partition(n.try_into().unwrap(), "default", n * DAY, (n < 9).then_some((n + 1) * DAY), 100))
        .collect();
    let policy = Policy { age: Some(90 * DAY), bytes: Some(3_000), yields: true };
    let forecast = &forecast(&all, ONE, &policies(policy, FOREVER), 10 * DAY)[&Class("default".into())];
    assert_eq!((forecast.rate, forecast.bytes, forecast.rows), (100, 1_000, 10));
    assert_eq!(forecast.keeps, Some(30 * DAY));
    assert_eq!(forecast.grows_to, Some(3_000));
}

proptest! {
    #[test]
    fn limits_hold_and_nothing_goes_without_need(
        sizes in prop::collection::vec((1u64..1000, 0u8..2), 1..30), age in 1i64..40, most in 0u64..5000, floor in 0u64..5000,
    ) {
        let last = sizes.len() - 1;
        let all: Vec<Partition> = sizes.iter().enumerate().map(|(n, (size, class))| {
            let at = i64::try_from(n).unwrap();
            let class = if *class == 0 { "default" } else { "audit" };
            partition(n.try_into().unwrap(), class, at, (n < last).then_some(at + 1), *size)
        }).collect();
        let policies = policies(Policy { age: Some(age), bytes: Some(most), yields: true }, FOREVER);
        let now = 30;
        let gone = goes(&all, &policies, Disk { free: 1000, floor }, now);
        let has = |n: u32| gone.iter().any(|(number, _)| *number == n);
        for p in &all {
            let (number, default) = (p.id.number, p.class.0 == "default");
            prop_assert!(!has(number) || (p.seal.is_some() && default));
            if let Some(seal) = p.seal.filter(|_| default) {
                prop_assert!(has(number) || seal.closed >= now - age);
                // Oldest first: nothing stays that is older than something that went.
                prop_assert!(has(number) || !all.iter().any(|q| q.id.number > number && has(q.id.number)));
            }
        }
        let kept: u64 = all.iter().filter(|p| p.class.0 == "default" && !has(p.id.number)).map(|p| p.contents.bytes).sum();
        let only_open = all.iter().all(|p| p.seal.is_none() || p.class.0 != "default" || has(p.id.number));
        prop_assert!(kept <= most || only_open);
        let freed: u64 = all.iter().filter(|p| has(p.id.number)).map(|p| p.contents.bytes).sum();
        prop_assert!(1000 + freed >= floor || only_open);
        // The last that went had a reason that holds without it.
        for (number, reason) in &gone {
            let p = &all[*number as usize];
            match reason {
                Reason::Age => prop_assert!(p.seal.unwrap().closed < now - age),
                Reason::Bytes => prop_assert!(kept + p.contents.bytes > most || gone.last() != Some(&(*number, *reason))),
                Reason::Disk => prop_assert!(1000 + freed - p.contents.bytes < floor || gone.last() != Some(&(*number, *reason))),
            }
        }
    }
}
