//! The units of systemd.

use super::{Finding, Fix, Hands, Id, quoted};

/// How Helm is started at boot, where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    /// The home that they are for.
    pub home: String,
    /// Their user.
    pub user: String,
    /// The user's units run without a login.
    pub linger: bool,
    /// Units that are not as shipped, each with what is different.
    pub different: Vec<(String, String)>,
    /// The script that installs them, where it is known.
    pub installer: String,
}

impl Units {
    /// What is wrong with them.
    pub fn findings(&self, hands: &Hands) -> Vec<Finding> {
        let linger = (!self.linger).then(|| {
            Finding::fault(
                Id::LingerMissing,
                "with the last logout everything ends, and nothing starts at boot",
            )
            .seen(format!("linger is not enabled for {}", self.user))
            .mend(hands.sudo(&format!("loginctl enable-linger {}", quoted(&self.user))))
            .fixed_by(Fix::EnableLinger { user: self.user.clone() })
        });
        let differs = (!self.different.is_empty()).then(|| {
            let found = Finding::warning(Id::UnitDiffers, "units are not as this Helm ships them");
            let seen = |found: Finding, (unit, how): &(String, String)| found.seen(format!("{unit}: {how}"));
            let (script, home) = (quoted(&self.installer), quoted(&self.home));
            self.different.iter().fold(found, seen).mend(format!("{script} --home {home}"))
        });
        linger.into_iter().chain(differs).collect()
    }
}

/// A unit of the Python tool that starts the same services a second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldUnit {
    /// The file.
    pub path: String,
    /// Its name.
    pub name: String,
    /// A unit of this user.
    pub of_user: Option<UnitUser>,
}

/// Whose a unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitUser {
    /// The name.
    pub name: String,
    /// It is whoever looks.
    pub looks: bool,
}

impl OldUnit {
    /// It is still enabled.
    pub fn finding(&self, hands: &Hands) -> Finding {
        let mend = match &self.of_user {
            Some(UnitUser { looks: true, .. }) => format!("systemctl --user disable --now {}", self.name),
            Some(UnitUser { name, .. }) => {
                let whose = quoted(&format!("--machine={name}@.host"));
                hands.sudo(&format!("systemctl --user {whose} disable --now {}", self.name))
            }
            None => hands.sudo(&format!("systemctl disable --now {}", self.name)),
        };
        Finding::fault(Id::OldUnit, "the Python tool starts the same services a second time")
            .seen(format!("{} is enabled", self.path))
            .mend(mend)
    }
}

/// What is different between a unit as it is shipped, with the places `@HOME@`, `@BIN@` and `@DOCS@` in it, and the file
/// that is installed. Where programs and texts lie is the host's; comments and blank lines say nothing.
pub fn difference(shipped: &str, installed: &str, home: &str) -> Option<String> {
    let shipped = shipped.replace("@HOME@", home);
    let (mut is, mut has) = (says(&shipped), says(installed));
    loop {
        match (is.next(), has.next()) {
            (None, None) => return None,
            (Some(is), Some(has)) if fits(is, has) => {}
            (Some(is), Some(has)) => return Some(format!("`{has}`, shipped as `{is}`")),
            (Some(is), None) => return Some(format!("`{is}` is not in it")),
            (None, Some(has)) => return Some(format!("`{has}` is not shipped")),
        }
    }
}

fn says(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// `line` is `pattern` with something in the place of each `@BIN@` and `@DOCS@`.
fn fits(pattern: &str, line: &str) -> bool {
    let Some((before, rest)) = pattern.split_once('@') else { return pattern == line };
    let Some(after) = rest.strip_prefix("BIN@").or_else(|| rest.strip_prefix("DOCS@")) else {
        return pattern == line;
    };
    line.strip_prefix(before)
        .and_then(|value| value.strip_suffix(after))
        .is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = "# why\n[Service]\nExecStart=\"@BIN@/helmd\" --home \"@HOME@\"\nRestart=always\n";

    #[test]
    fn units_of_another_user_are_reached_through_their_own_systemd() {
        let mend = |of_user| {
            let hands = Hands { helmctl: "helmctl".into(), root: false };
            OldUnit { path: "/u".into(), name: "helm.service".into(), of_user }.finding(&hands).mend.unwrap()
        };
        let user = |looks| Some(UnitUser { name: "helm".into(), looks });
        assert_eq!(mend(user(true)), "systemctl --user disable --now helm.service");
        assert_eq!(
            mend(user(false)),
            "sudo systemctl --user --machine=helm@.host disable --now helm.service"
        );
        assert_eq!(mend(None), "sudo systemctl disable --now helm.service");
    }

    #[test]
    fn places_are_the_hosts_and_the_rest_is_as_shipped() {
        let installed = "[Service]\n\nExecStart=\"/opt/helm/bin/helmd\" --home \"/srv/h\"\nRestart=always\n";
        assert_eq!(difference(SHIPPED, installed, "/srv/h"), None);
        assert!(difference(SHIPPED, installed, "/srv/other").unwrap().contains("/srv/other"));
        let edited = installed.replace("always", "no");
        let found = difference(SHIPPED, &edited, "/srv/h").unwrap();
        assert_eq!(found, "`Restart=no`, shipped as `Restart=always`");
        let more = format!("{installed}Nice=5\n");
        assert_eq!(difference(SHIPPED, &more, "/srv/h").unwrap(), "`Nice=5` is not shipped");
    }
}
