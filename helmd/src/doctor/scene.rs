//! What every check needs: the home, its configuration, who asks. And the checks of the home itself.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use helm_core::doctor::{Brief, Daemon, Directory, Finding, Hands, Id, Open, Owned, Secret, edit};
use helm_core::name::ServiceName;
use helm_core::spec::{Config, Fault, ServiceSpec, Severity};
use helm_core::time::Wall;
use helm_core::wish::Mode;
use nix::unistd::{Gid, Uid, User, getgrouplist};
use rustix::fs::getxattr_query;

use crate::clock;
use crate::config::{self, Read};
use crate::home::{Home, LockInfo};
use crate::keeper::{base_environment, launch};
use crate::versions::Versions;

/// See the module.
pub(super) struct Scene {
    pub(super) home: Home,
    pub(super) read: Read,
    pub(super) base_env: BTreeMap<String, String>,
    pub(super) daemon: Daemon,
    pub(super) hands: Hands,
    /// Whose the home is: as whom helmd runs.
    pub(super) owner: Owner,
    pub(super) now: Wall,
    services: Vec<Arc<ServiceSpec>>,
}

/// A user.
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) name: String,
    /// Their own home.
    pub(super) dir: PathBuf,
    /// Their groups.
    gids: Vec<u32>,
}

impl Owner {
    fn of(uid: u32) -> Self {
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        match user {
            Some(user) => {
                let groups = CString::new(user.name.as_str()).ok();
                let groups = groups.and_then(|name| getgrouplist(&name, user.gid).ok());
                let gids = groups.unwrap_or_else(|| vec![user.gid]).into_iter().map(Gid::as_raw).collect();
                Self { uid, name: user.name, dir: user.dir, gids }
            }
            None => Self { uid, name: uid.to_string(), dir: "/".into(), gids: Vec::new() },
        }
    }

    /// By its mode, whoever looks: root may read everything, and says nothing by that. An access control list may say more
    /// than the mode does.
    pub(super) fn may_read(&self, path: &Path, meta: &fs::Metadata) -> bool {
        let by_mode = if meta.uid() == self.uid {
            meta.mode() & 0o400 != 0
        } else if self.gids.contains(&meta.gid()) {
            meta.mode() & 0o040 != 0
        } else {
            meta.mode() & 0o004 != 0
        };
        let listed = || getxattr_query(path, "system.posix_acl_access").is_ok();
        self.uid == 0 || by_mode || listed()
    }
}

impl Scene {
    pub(super) fn of(path: &Path, brief: Brief) -> Result<Self, String> {
        let home = Home::at(path).map_err(|e| e.to_string())?;
        let owner = fs::metadata(home.path()).map_err(|e| format!("{}: {e}", home.path().display()))?.uid();
        let read = config::read(&home);
        let runnable = |config: &Config| -> Vec<Arc<ServiceSpec>> {
            config.services.iter().filter(|s| s.program.is_some()).cloned().map(Arc::new).collect()
        };
        Ok(Self {
            services: read.config.as_ref().map(runnable).unwrap_or_default(),
            read,
            base_env: environment_of_helmd(&home, &brief.daemon).unwrap_or_else(config::own_environment),
            daemon: brief.daemon,
            hands: Hands { helmctl: brief.helmctl, root: rustix::process::geteuid().is_root() },
            owner: Owner::of(owner),
            now: clock::wall(),
            home,
        })
    }

    /// Whoever looks is who helmd runs as: what cannot be read here, it cannot read either.
    pub(super) fn is_owner(&self) -> bool {
        rustix::process::geteuid().as_raw() == self.owner.uid
    }

    /// Those that run something.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<ServiceSpec>> {
        self.services.iter()
    }

    pub(super) fn config(&self) -> Option<&Config> {
        self.read.config.as_ref()
    }

    /// Where a service is configured: file and line.
    pub(super) fn place(&self, service: &ServiceName) -> (String, u32) {
        let place = self.config().map(|config| config.place_of(service, ""));
        let (file, line) = place.map_or_else(|| ("services.json".to_owned(), 0), |p| (p.file, p.line));
        (self.home.path().join(file).display().to_string(), line)
    }

    /// The environment that a start of it would use; the mode is that of the run, else the default.
    pub(super) fn environment(&self, spec: &ServiceSpec) -> BTreeMap<String, String> {
        let default = self.config().and_then(|config| config.settings.default_mode).unwrap_or_default();
        let mode = match self.daemon.service(&spec.name) {
            Some(told) if told.production => Mode::Production,
            Some(_) => Mode::Development,
            None => default,
        };
        // What of its files cannot be read is told by itself.
        let without = || ServiceSpec { env_file: None, ..spec.clone() };
        launch::environment(spec, mode, &self.base_env)
            .or_else(|_| launch::environment(&without(), mode, &self.base_env))
            .unwrap_or_else(|_| self.base_env.clone())
    }
}

/// What a start begins with: a running helmd has another environment than whoever looks (units of systemd have).
fn environment_of_helmd(home: &Home, daemon: &Daemon) -> Option<BTreeMap<String, String>> {
    let pid = holder(home, daemon)?;
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let pairs = environ.split(|b| *b == 0).filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
    Some(base_environment(pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))))
}

/// The helmd that holds the home, as its lock file says.
pub(super) fn holder(home: &Home, daemon: &Daemon) -> Option<u32> {
    match daemon {
        Daemon::Absent => None,
        Daemon::Silent { .. } | Daemon::Answers(_) => {
            let text = fs::read(home.instance().join("helmd.lock")).ok()?;
            Some(serde_json::from_slice::<LockInfo>(&text).ok()?.pid)
        }
    }
}

/// The files of the configuration, and whether helmd runs by them.
pub(super) fn configuration(scene: &Scene) -> Vec<Finding> {
    faults(scene).into_iter().chain(not_in_force(scene)).collect()
}

/// Of each file one, by errors alone: what is only odd, `helmctl config check` tells.
fn faults(scene: &Scene) -> Vec<Finding> {
    let mut files: Vec<(&str, Vec<&Fault>)> = Vec::new();
    for fault in scene.read.faults.iter().filter(|fault| fault.severity == Severity::Error) {
        match files.iter_mut().find(|(file, _)| *file == fault.file) {
            Some((_, faults)) => faults.push(fault),
            None => files.push((&fault.file, vec![fault])),
        }
    }
    let finding = |(file, faults): &(&str, Vec<&Fault>)| {
        let path = scene.home.path().join(file).display().to_string();
        let finding = Finding::fault(Id::ConfigFaulty, "the configuration has faults");
        let finding = finding.mend(edit(&path, faults.first().map_or(0, |first| first.line)));
        faults.iter().fold(finding, |finding, fault| finding.seen(fault.to_string()))
    };
    files.iter().map(finding).collect()
}

/// What tells helmd what to run, and can be changed by anybody.
fn writable(scene: &Scene) -> Vec<Open> {
    let parts = ["", "instance"].into_iter().chain(config::FILES);
    let open = parts.filter_map(|part| {
        let path = if part.is_empty() { scene.home.path().to_owned() } else { scene.home.path().join(part) };
        let mode = fs::metadata(&path).ok()?.mode();
        (mode & 0o002 != 0 && is_reachable(&path)).then(|| Open { path: path.display().to_string(), mode })
    });
    open.collect()
}

/// Files that helmd does not run by.
fn not_in_force(scene: &Scene) -> Option<Finding> {
    if !matches!(scene.daemon, Daemon::Answers(_)) {
        return None;
    }
    let versions = Versions::of(&scene.home);
    let current = versions.read(versions.standing().current?)?;
    if scene.read.sound()?.means_the_same(current.sound()?) {
        return None;
    }
    let names = current.texts.differing(&scene.read.texts).join(", ");
    Some(
        Finding::warning(Id::NotInForce, "helmd does not run by the files as they are")
            .seen(format!("{names}: changed since"))
            .mend(scene.hands.ctl("reload")),
    )
}

/// Whose they are, who can read the secret ones, and whether they are there.
pub(super) fn files(scene: &Scene) -> Vec<Finding> {
    let owned = owned(scene);
    let strange = Owned::finding(&owned, &scene.owner.name, &scene.hands);
    let conf = scene.home.instance().join("helm.conf");
    let holds_password =
        fs::read_to_string(&conf).is_ok_and(|text| crate::store::place::connection_string(&text).is_some());
    let mut secrets = vec![scene.home.instance().join("configs/master_config.json")];
    secrets.extend(holds_password.then_some(conf));
    let open = secrets.iter().filter_map(|path| secret(path, None)?.finding());
    let gone = [scene.home.instance(), scene.home.run(), scene.home.logs()].into_iter().filter_map(|dir| {
        let to = dir.parent()?.join(fs::read_link(&dir).ok()?);
        let (path, to) = (dir.display().to_string(), to.display().to_string());
        (!dir.exists()).then(|| Directory { path, to }.finding())
    });
    let mut writable = writable(scene);
    // What is said of a secret closes it to all others.
    writable.retain(|open| secrets.iter().all(|secret| *secret != Path::new(&open.path)));
    let writable = Open::finding(&writable);
    strange.into_iter().chain(writable).chain(open).chain(gone).collect()
}

/// Parts of the home that helmd writes and that are not its own, and parts that it reads and may not. What is only read may be
/// anybody's: who manages many hosts by root has files like that.
fn owned(scene: &Scene) -> Vec<Owned> {
    const WRITTEN: [&str; 9] = [
        "instance",
        "instance/run",
        "instance/store",
        "instance/store/main.db",
        "instance/wishes.json",
        "instance/helmd.lock",
        "instance/events.jsonl",
        "logs",
        "logs/helmd.log",
    ];
    let of_services = scene.services().map(|spec| scene.home.logs().join(spec.name.as_str()));
    let written = WRITTEN.into_iter().map(|part| scene.home.path().join(part)).chain(of_services);
    let strange = written.filter_map(|path| {
        let uid = fs::metadata(&path).ok()?.uid();
        (uid != scene.owner.uid).then_some((path, uid))
    });
    let read = config::FILES.into_iter().map(|part| scene.home.path().join(part));
    let closed = read.filter_map(|path| {
        let meta = fs::metadata(&path).ok()?;
        (!scene.owner.may_read(&path, &meta)).then_some((path, meta.uid()))
    });
    let owned = |(path, uid): (PathBuf, u32)| Owned {
        whole: whole(scene, &path).display().to_string(),
        path: path.display().to_string(),
        by: Owner::of(uid).name,
    };
    strange.chain(closed).map(owned).collect()
}

/// What is to be given back together with a part: all of `instance` or `logs`; where a link leads out of the home, what it
/// leads to (`chown -R` follows no link).
fn whole(scene: &Scene, part: &Path) -> PathBuf {
    let real = part.canonicalize().unwrap_or_else(|_| part.to_owned());
    let trees = [scene.home.instance(), scene.home.logs()];
    trees.into_iter().find(|tree| real.starts_with(tree)).unwrap_or(real)
}

/// A file with a secret, if it is there.
pub(super) fn secret(path: &Path, service: Option<&ServiceName>) -> Option<Secret> {
    let mode = fs::metadata(path).ok()?.mode();
    let reachable = is_reachable(path);
    Some(Secret { path: path.display().to_string(), mode, reachable, service: service.cloned() })
}

/// Whoever may pass through every directory above gets to it.
fn is_reachable(path: &Path) -> bool {
    path.ancestors().skip(1).all(|dir| fs::metadata(dir).is_ok_and(|d| d.mode() & 0o011 != 0))
}
