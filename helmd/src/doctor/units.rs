//! The units of systemd: those that start Helm at boot, and those that the Python tool left.

use std::fs;
use std::path::{Path, PathBuf};

use helm_core::doctor::{Finding, OldUnit, UnitUser, Units, difference};

use super::scene::Scene;

/// As `scripts/install_autostart.sh` installs them.
const SHIPPED: [(&str, &str); 4] = [
    ("helmd.socket", include_str!("../../../systemd/helmd.socket")),
    ("helmd.service", include_str!("../../../systemd/helmd.service")),
    ("helm-tree.service", include_str!("../../../systemd/helm-tree.service")),
    ("helm-services.service", include_str!("../../../systemd/helm-services.service")),
];
/// The Python tool's.
const OLD: [&str; 2] = ["hivematrix.service", "helm.service"];
/// Where units of the system are.
const SYSTEM: &str = "/etc/systemd/system";
/// A file for each user with linger.
const LINGER: &str = "/var/lib/systemd/linger";

pub(super) fn look(scene: &Scene) -> Vec<Finding> {
    let dir = directory(scene);
    let installed = installed(scene, &dir).map(|units| units.findings(&scene.hands)).unwrap_or_default();
    let user = UnitUser { name: scene.owner.name.clone(), looks: scene.is_owner() };
    let old =
        [(Path::new(SYSTEM), None), (dir.as_path(), Some(user))].into_iter().flat_map(|(dir, of_user)| {
            OLD.into_iter().filter(move |name| is_old(dir, name)).map(move |name| OldUnit {
                path: dir.join(name).display().to_string(),
                name: name.to_owned(),
                of_user: of_user.clone(),
            })
        });
    installed.into_iter().chain(old.map(|unit| unit.finding(&scene.hands))).collect()
}

/// The units of the home's owner.
fn directory(scene: &Scene) -> PathBuf {
    let ours = rustix::process::getuid().as_raw() == scene.owner.uid;
    let set = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| ours && dir.is_absolute());
    set.unwrap_or_else(|| scene.owner.dir.join(".config")).join("systemd/user")
}

/// Those for this home, if there are any.
fn installed(scene: &Scene, dir: &Path) -> Option<Units> {
    let home = scene.home.path().to_string_lossy().into_owned();
    let service = fs::read_to_string(dir.join("helmd.service")).ok()?;
    let marked = service.lines().find_map(|line| line.strip_prefix("X-HelmHome="))?;
    if marked != home {
        return None;
    }
    let different = SHIPPED.iter().filter_map(|(name, shipped)| {
        let how = match fs::read_to_string(dir.join(name)) {
            Ok(text) => difference(shipped, &text, &home)?,
            Err(e) => e.to_string(),
        };
        Some(((*name).to_owned(), how))
    });
    Some(Units {
        different: different.collect(),
        linger: Path::new(LINGER).join(&scene.owner.name).exists(),
        user: scene.owner.name.clone(),
        installer: installer(&service).unwrap_or_else(|| "scripts/install_autostart.sh".to_owned()),
        home,
    })
}

/// Beside the documentation that the unit names.
fn installer(service: &str) -> Option<String> {
    let docs = service.lines().find_map(|line| line.strip_prefix("Documentation=file://"))?;
    let script = Path::new(docs).parent()?.parent()?.join("scripts/install_autostart.sh");
    script.is_file().then(|| script.display().to_string())
}

/// A unit of the Python tool that something starts.
fn is_old(dir: &Path, name: &str) -> bool {
    let text = fs::read_to_string(dir.join(name)).unwrap_or_default();
    let of_python = ["cli.py", "run.py", "systemd_start.sh"].iter().any(|word| text.contains(word));
    let wants = dir.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    of_python
        && wants
            .filter(|path| path.extension().is_some_and(|kind| kind == "wants"))
            .any(|path| fs::symlink_metadata(path.join(name)).is_ok())
}
