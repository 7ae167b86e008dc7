//! The files of the home.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use super::site::{STRANGER, give, mode, site, up};
use super::{found, heals, mend, only, shows, weight};

#[test]
fn a_configuration_with_faults() {
    let home = site();
    home.write("services.json", "{\"core\": {\"command\": [\"true\"],,}}\n");
    let fault = only(&home, "config-faulty");
    shows(&fault, "services.json:1:");
    assert!(mend(&fault).starts_with("${EDITOR:-vi} +1 "), "{fault:#}");
}

#[test]
fn each_faulty_file_has_a_mend_of_its_own() {
    let home = site();
    home.write("services.json", "{\"core\": {\"command\": [\"true\"],,}}\n");
    home.write("instance/helm.conf", "[helm]\nstart_cap = many\n");
    let faults = found(&home);
    let mends: Vec<&str> =
        faults.iter().filter(|finding| finding["id"] == "config-faulty").map(mend).collect();
    assert_eq!(mends.len(), 2, "{faults:#?}");
    assert!(mends[0].ends_with("/services.json") && mends[1].ends_with("/instance/helm.conf"), "{mends:?}");
}

#[test]
fn a_configuration_that_everybody_can_change() {
    let home = site();
    home.write("instance/helm.conf", "[helm]\n");
    mode(&home.path("instance/helm.conf"), 0o666);
    mode(&home.path("services.json"), 0o666);
    mode(home.dir(), 0o755);
    let fault = only(&home, "permissions");
    shows(&fault, "/services.json has mode 0666");
    shows(&fault, "/instance/helm.conf has mode 0666");
    heals(&home, &fault);
}

#[test]
fn what_is_only_read_may_be_roots_and_what_a_link_leads_to_is_given_back() {
    let home = site();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), home.path("logs")).unwrap();
    give(home.dir(), STRANGER);
    mode(home.dir(), 0o755);
    for part in ["services.json", "logs"] {
        chown(home.path(part), Some(0), Some(0)).unwrap();
    }
    mode(&home.path("services.json"), 0o644);
    let fault = only(&home, "permissions");
    shows(&fault, "/logs belongs to root");
    assert!(mend(&fault).ends_with(&format!("chown -R {STRANGER} {}", elsewhere.path().display())));
    heals(&home, &fault);
    mode(&home.path("services.json"), 0o600);
    let fault = only(&home, "permissions");
    shows(&fault, "/services.json belongs to root");
    heals(&home, &fault);
}

#[test]
fn an_edit_that_is_not_in_force() {
    let home = site();
    up(&home);
    let text = home.read("services.json").replace("\"keycloak\": {", "\"keycloak\": {\"visible\": false,");
    home.write("services.json", &text);
    let warning = found(&home).into_iter().find(|finding| finding["id"] == "not-in-force").unwrap();
    shows(&warning, "services.json: changed since");
    heals(&home, &warning);
}

#[test]
fn parts_of_the_home_that_are_not_its_owners() {
    let home = site();
    fs::create_dir_all(home.path("logs")).unwrap();
    chown(home.path("logs"), Some(64_997), Some(64_997)).unwrap();
    let fault = only(&home, "permissions");
    shows(&fault, "/logs belongs to 64997");
    heals(&home, &fault);
}

#[test]
fn a_password_that_others_can_read() {
    let home = site();
    home.write("instance/configs/master_config.json", "{}");
    mode(&home.path("instance/configs/master_config.json"), 0o644);
    mode(home.dir(), 0o700);
    assert_eq!(weight(&only(&home, "secrets-open")), "warning");
    mode(home.dir(), 0o755);
    let fault = only(&home, "secrets-open");
    assert_eq!(weight(&fault), "fault");
    shows(&fault, "master_config.json has mode 0644");
    heals(&home, &fault);
}

#[test]
fn a_directory_that_is_a_link_to_nothing() {
    let home = site();
    symlink("disk/logs", home.path("logs")).unwrap();
    let fault = only(&home, "directory-missing");
    shows(&fault, "disk/logs, which is not there");
    heals(&home, &fault);
}
