//! The mixed fleet that is attacked.

use std::path::{Path, PathBuf};

use harness::bins::root;
use harness::home::fixture;
use serde_json::{Map, Value, json};

/// What the test asked for, and how the service behaves by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Never ends by itself: it has one life.
    Steady,
    /// Ends by itself, with a code that it notes, and is started again.
    Exits,
    /// Ends once with success, and is not started again.
    Once,
    /// Was stopped by the operator before the attack.
    Stopped,
}

/// One service of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Its lines are numbered.
    pub(crate) numbered: bool,
    /// What Helm must say of its exit, where it is not the code that the service notes.
    pub(crate) exit: Option<&'static str>,
}

/// The services and their `services.json`.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
    pub(crate) services: Map<String, Value>,
}

impl Fleet {
    fn add(&mut self, name: &str, kind: Kind, numbered: bool, command: Value) -> &mut Value {
        let exit = match name {
            // The shell does not hand SIGTERM on: it dies of it.
            "wrapped" => Some("signal 15 (SIGTERM)"),
            // Deaf until the grace time is over.
            "stubborn" => Some("signal 9 (SIGKILL)"),
            _ => None,
        };
        self.members.push(Member { name: name.to_owned(), kind, numbered, exit });
        let service = json!({
            "command": command,
            "backoff": {"initial": "20ms", "max": "200ms"},
            "stop": {"grace": "2s"},
            // Files that change all the time, and nothing thrown away: every line is to be found again.
            "log": {"segment_size": "1M", "total_size": "64G"},
        });
        self.services.entry(name.to_owned()).or_insert(service)
    }
}

/// The fleet. The sockets of gunicorn lie in `dir`.
pub(crate) fn mixed(dir: &Path, gunicorn: &Path) -> Fleet {
    let mut fleet = Fleet::default();
    for (n, options) in
        ["rate=40", "rate=200", "rate=1000 burst=20", "rate=2000 burst=200 width=120"].iter().enumerate()
    {
        fleet.add(&format!("chatty-{n}"), Kind::Steady, true, fixture("chatty", options));
    }
    for (n, after) in ["100..400", "200..900", "500..2500", "1000..6000", "50..100"].iter().enumerate() {
        let options = format!("after={after} code=random rate=100");
        fleet.add(&format!("exiter-{n}"), Kind::Exits, true, fixture("exiter", &options));
    }
    fleet.add(
        "abandon",
        Kind::Exits,
        true,
        fixture("forker", "how=abandon after=300..1500 code=3 depth=1 width=2"),
    );
    fleet.add("forker", Kind::Steady, true, fixture("forker", "depth=2 width=2 rate=20"));
    fleet.add("forker-deaf", Kind::Steady, true, fixture("forker", "depth=1 width=3 deaf session rate=20"));
    fleet.add("stubborn", Kind::Steady, true, fixture("stubborn", "every=50"));
    fleet.add("once", Kind::Once, true, fixture("chatty", "rate=100 count=50 after=exit"))["restart"] =
        json!("never");
    fleet.add("stopped", Kind::Stopped, true, fixture("chatty", "rate=20"));
    let shell = format!("{} rate=50; exit 4", fixture("chatty", "")[0].as_str().unwrap_or_default());
    let wrapped = fleet.add("wrapped", Kind::Steady, true, json!(shell));
    wrapped["shell"] = json!(true);

    let conf = root().join("tests/fixtures/gunicorn.conf.py");
    let chdir = root().join("tests/fixtures");
    let web = fleet.add(
        "gunicorn",
        Kind::Steady,
        false,
        json!([gunicorn, "-c", conf, "--chdir", chdir, "gunicorn_app:app"]),
    );
    web["env"] = json!({"SOCKET": dir.join("gunicorn.sock"), "PYTHONDONTWRITEBYTECODE": "1"});
    fleet
}

/// The gunicorn to use: HELM_TEST_GUNICORN, else the one that scripts/test.sh installs.
pub(crate) fn gunicorn() -> Result<PathBuf, String> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let path = std::env::var_os("HELM_TEST_GUNICORN")
        .map_or_else(|| home.join(".cache/helm-tests/venv/bin/gunicorn"), PathBuf::from);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("{} is not there: `scripts/test.sh tools` installs it", path.display()))
    }
}
