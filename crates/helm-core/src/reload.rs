//! What a reload does with the services that run: from what is different to what is stopped, restarted and started.

use serde::{Deserialize, Serialize};

use crate::name::ServiceName;
use crate::spec::{Changes, Need, ServiceChange};
use crate::status::State;

/// What an operator wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// What runs may be restarted, and what is configured no more stopped.
    pub restart: bool,
    /// What is new may be started.
    pub start: bool,
    /// The fleet is held down: nothing is started.
    pub hold: bool,
}

/// What happens to one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is stopped.
    Stop,
    /// It is restarted.
    Restart,
    /// It is started.
    Start,
    /// Nothing: what changed holds at once.
    Live,
    /// Nothing now.
    Later,
}

impl Action {
    /// The name on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Stop => "stop",
            Action::Restart => "restart",
            Action::Start => "start",
            Action::Live => "live",
            Action::Later => "later",
        }
    }
}

/// One service of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whom.
    pub name: ServiceName,
    /// What happens to it.
    pub action: Action,
    /// The same in words, or why nothing happens and how it comes into force.
    pub words: String,
}

/// What is to be done, in this order. What each depends on stands before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Todo {
    /// Configured no more.
    pub stop: Vec<ServiceName>,
    /// Another definition.
    pub restart: Vec<ServiceName>,
    /// New.
    pub start: Vec<ServiceName>,
    /// Nothing is done to them, and they run by something new.
    pub live: Vec<ServiceName>,
}

impl Todo {
    /// Of these steps.
    pub fn of(steps: &[Step]) -> Self {
        let that = |action: Action| {
            let steps = steps.iter().filter(|step| step.action == action);
            steps.map(|step| step.name.clone()).collect()
        };
        Self {
            stop: that(Action::Stop),
            restart: that(Action::Restart),
            start: that(Action::Start),
            live: that(Action::Live),
        }
    }

    /// What takes it back.
    pub fn back(self) -> Self {
        Self { stop: self.start, restart: self.restart, start: self.stop, live: self.live }
    }
}

/// The steps, in the order of the changes. `state`: what a service does now, and whether it is to run.
pub fn steps(
    changes: &Changes,
    state: impl Fn(&ServiceName) -> Option<(State, bool)>,
    reach: Reach,
) -> Vec<Step> {
    let step = |change: &ServiceChange| {
        let (action, words) = step(change, state(&change.name), reach);
        Step { name: change.name.clone(), action, words }
    };
    changes.services.iter().map(step).collect()
}

fn step(change: &ServiceChange, now: Option<(State, bool)>, reach: Reach) -> (Action, String) {
    let name = &change.name;
    let later = |words: String| (Action::Later, words);
    let wanted = now.is_some_and(|(_, wanted)| wanted);
    match (change.need, now.map(|(state, _)| state)) {
        (Need::Live, _) => (Action::Live, "nothing is restarted: in force at once".into()),
        (Need::Restart | Need::Stop, Some(State::External)) => {
            later("is not run by Helm, and left alone".into())
        }
        (Need::Restart, _) if reach.hold => {
            later("the fleet is held down: in force with its next start".into())
        }
        (Need::Restart, _) if !wanted => later("does not run: in force with its next start".into()),
        (Need::Restart, _) if !reach.restart => {
            later(format!("runs on by its former definition; in force with: helmctl restart {name}"))
        }
        (Need::Restart, _) => (Action::Restart, "is restarted".into()),
        (Need::Start, _) if reach.hold => later("the fleet is held down: not started".into()),
        (Need::Start, _) if !reach.start => {
            later(format!("not started; start it with: helmctl start {name}"))
        }
        (Need::Start, _) => (Action::Start, "is started".into()),
        (Need::Stop, Some(State::Running | State::Starting | State::Stopping)) if !reach.restart => {
            later(format!("runs on, configured no more; end it with: helmctl stop {name}"))
        }
        (Need::Stop, Some(State::Running | State::Starting | State::Stopping)) => {
            (Action::Stop, "is stopped".into())
        }
        (
            Need::Stop,
            Some(State::Stopped | State::Blocked | State::Backoff | State::Failed | State::NotInstalled)
            | None,
        ) => later("does not run".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::name;
    use crate::spec::Kind;

    const ALL: Reach = Reach { restart: true, start: true, hold: false };

    fn one(need: Need, now: Option<(State, bool)>, reach: Reach) -> (Action, String) {
        let change = ServiceChange { name: name("a"), kind: Kind::Changed, need, fields: Vec::new() };
        step(&change, now, reach)
    }

    #[test]
    fn each_need_in_each_situation() {
        let up = Some((State::Running, true));
        let down = Some((State::Stopped, false));
        let (held, still) = (Reach { hold: true, ..ALL }, Reach { restart: false, start: false, ..ALL });
        for (need, now, reach, action) in [
            (Need::Live, up, ALL, Action::Live),
            (Need::Restart, up, ALL, Action::Restart),
            (Need::Restart, Some((State::Failed, true)), ALL, Action::Restart),
            (Need::Restart, Some((State::Backoff, true)), ALL, Action::Restart),
            (Need::Restart, down, ALL, Action::Later),
            (Need::Restart, up, still, Action::Later),
            (Need::Restart, Some((State::Stopped, false)), held, Action::Later),
            (Need::Restart, Some((State::External, true)), ALL, Action::Later),
            (Need::Start, None, ALL, Action::Start),
            (Need::Start, None, still, Action::Later),
            (Need::Start, None, held, Action::Later),
            (Need::Stop, up, ALL, Action::Stop),
            (Need::Stop, up, still, Action::Later),
            (Need::Stop, Some((State::Backoff, true)), ALL, Action::Later),
            (Need::Stop, Some((State::External, true)), ALL, Action::Later),
        ] {
            assert_eq!(one(need, now, reach).0, action, "{need:?} {now:?} {reach:?}");
        }
        assert!(one(Need::Restart, up, still).1.ends_with("helmctl restart a"));
        assert!(one(Need::Stop, up, still).1.ends_with("helmctl stop a"));
    }

    #[test]
    fn the_way_back_ends_what_was_new_and_starts_what_was_ended() {
        let list = |text: &str| vec![name(text)];
        let todo = Todo { stop: list("gone"), restart: list("web"), start: list("new"), live: list("l") };
        let back = todo.clone().back();
        assert_eq!((&back.stop, &back.start), (&list("new"), &list("gone")));
        assert_eq!(back.back(), todo);
    }
}
