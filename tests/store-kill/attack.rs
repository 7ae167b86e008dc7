//! What is done to helmd, the keepers and PostgreSQL.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use harness::fixture::Dice;
use harness::home::{Helmd, Home};
use harness::wait::{eventually, pause};

use crate::database::{Cluster, Mood, Proxy};

/// Longest wait for helmd to be in the middle of its work.
const WORKS: Duration = Duration::from_secs(10);

/// One blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strike {
    /// `kill -9` to a service's keeper, while helmd is there to take over: output is lost only where both are dead, which `kill-test` is about.
    Keeper,
    /// `kill -9` to helmd.
    Helmd,
    /// `kill -9` to helmd in the moment in which it writes to the database.
    Writing,
    /// `kill -9` to all of PostgreSQL, and a start after a while.
    Postgres,
    /// The same, and to helmd while PostgreSQL is away.
    Both,
    /// All connections end.
    Cut,
    /// Nothing passes for a while.
    Stall,
    /// Everything passes slowly for a while.
    Delay,
    /// `kill -9` to helmd while what it sent is on its way: that arrives when the next helmd works already.
    Late,
}

const SQLITE: [Strike; 4] = [Strike::Keeper, Strike::Helmd, Strike::Writing, Strike::Writing];
const POSTGRES: [Strike; 11] = [
    Strike::Keeper,
    Strike::Helmd,
    Strike::Writing,
    Strike::Writing,
    Strike::Postgres,
    Strike::Postgres,
    Strike::Both,
    Strike::Cut,
    Strike::Stall,
    Strike::Delay,
    Strike::Late,
];

/// PostgreSQL and the way to it.
pub(crate) struct Database {
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
}

/// The attack on one home.
pub(crate) struct Attack<'a> {
    home: &'a Home,
    dice: Dice,
    helmd: Option<Helmd>,
    database: Option<Database>,
    strikes: BTreeMap<Strike, u32>,
    /// What must not be, in words.
    pub(crate) faults: Vec<String>,
}

impl<'a> Attack<'a> {
    /// Starts helmd; nothing is struck yet.
    pub(crate) fn begin(home: &'a Home, seed: u64, database: Option<Database>) -> Self {
        let helmd = Some(home.spawn_helmd());
        home.answers();
        let (strikes, faults) = (BTreeMap::new(), Vec::new());
        Self { home, dice: Dice::new(seed), helmd, database, strikes, faults }
    }

    /// The next blow, a moment after senders are being answered again: who is struck is at work.
    pub(crate) fn strike(&mut self, acknowledged: &AtomicU64) {
        let before = acknowledged.load(Ordering::Relaxed);
        self.soon(|_| acknowledged.load(Ordering::Relaxed) > before + 8);
        self.within(0, 500);
        let last = if self.database.is_some() { POSTGRES.len() } else { SQLITE.len() } - 1;
        let drawn = usize::try_from(self.dice.between(0, last as u64)).unwrap_or(0);
        let strike = if self.database.is_some() { POSTGRES[drawn] } else { SQLITE[drawn] };
        match strike {
            Strike::Keeper => self.keeper(),
            Strike::Helmd => self.again(),
            Strike::Writing => {
                let steps = self.dice.between(1, 12);
                self.writes(steps);
                self.again();
            }
            Strike::Postgres => {
                self.order("kill");
                self.within(0, 1500);
                self.order("start");
            }
            Strike::Both => {
                self.order("kill");
                self.within(0, 500);
                self.again();
                self.within(0, 1000);
                self.order("start");
            }
            Strike::Cut => self.proxy(Proxy::cut),
            Strike::Stall | Strike::Delay => {
                let mood = if strike == Strike::Stall { Mood::Stalls } else { Mood::Delays };
                self.proxy(|proxy| proxy.be(mood));
                self.within(0, 2500);
                self.proxy(|proxy| proxy.be(Mood::Fair));
            }
            Strike::Late => {
                self.proxy(Proxy::freeze);
                self.within(0, 300);
                self.again();
                self.within(0, 1000);
                self.proxy(Proxy::thaw);
            }
        }
        *self.strikes.entry(strike).or_default() += 1;
    }

    /// How often what was struck.
    pub(crate) fn summary(&self) -> String {
        let words: Vec<String> =
            self.strikes.iter().map(|(strike, count)| format!("{strike} {count}")).collect();
        words.join(", ")
    }

    /// Ends helmd in peace. The database lives on until then.
    pub(crate) fn end(self) {
        self.home.ctl(&["daemon", "stop"]).code(0);
        self.helmd.map(Helmd::ended);
    }

    fn within(&mut self, low: u64, high: u64) {
        pause(Duration::from_millis(self.dice.between(low, high)));
    }

    /// Waits for the fact; in vain if it must be.
    pub(crate) fn soon(&self, fact: impl Fn(&Self) -> bool) {
        let end = Instant::now() + WORKS;
        while !fact(self) && Instant::now() < end {
            pause(Duration::from_millis(1));
        }
    }

    /// Until so many messages more have reached PostgreSQL (a transaction has five), or SQLite has written so many times.
    fn writes(&self, steps: u64) {
        for _ in 0..steps {
            let before = self.written();
            self.soon(|attack| attack.written() != before);
        }
    }

    /// Changes with every write.
    fn written(&self) -> u128 {
        if let Some(database) = &self.database {
            return database.proxy.sent().into();
        }
        let files = fs::read_dir(self.home.path("instance/store/log")).into_iter().flatten().flatten();
        let times = files.filter_map(|file| file.metadata().ok()?.modified().ok());
        times.filter_map(|time| time.duration_since(UNIX_EPOCH).ok()).map(|time| time.as_nanos()).sum()
    }

    pub(crate) fn order(&mut self, order: &str) {
        if let Some(database) = &mut self.database {
            database.cluster.order(order);
        }
    }

    fn proxy(&self, ask: impl FnOnce(&Proxy)) {
        if let Some(database) = &self.database {
            ask(&database.proxy);
        }
    }

    fn again(&mut self) {
        if let Some(mut helmd) = self.helmd.take() {
            if helmd.has_ended() {
                self.faults.push("helmd ended by itself: see helmd.err".to_owned());
            }
            helmd.kill();
        }
        self.within(0, 300);
        self.helmd = Some(self.home.spawn_helmd());
        self.home.answers();
    }

    fn keeper(&mut self) {
        let name = format!("chatty-{}", self.dice.between(0, 3));
        let Some(old) = self.home.keeper(&name) else { return };
        old.kill();
        eventually("another keeper", || {
            self.home.keeper(&name).filter(|new| *new != old).map(drop).ok_or_else(|| self.home.story(&name))
        });
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strike::Keeper => "keeper",
            Strike::Helmd => "helmd",
            Strike::Writing => "helmd in a write",
            Strike::Postgres => "PostgreSQL",
            Strike::Both => "PostgreSQL and helmd",
            Strike::Cut => "connections cut",
            Strike::Stall => "stalled",
            Strike::Delay => "delayed",
            Strike::Late => "helmd with words on the way",
        })
    }
}
