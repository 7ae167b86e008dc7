//! Services as they run, or do not.

use std::fs;

use serde_json::json;

use super::site::{site, site_with, up};
use super::{found, heals, mend, mended, only, shows, weight};

#[test]
fn a_service_that_ends_again_and_again() {
    let home = site_with(|services, _| {
        services["worker"] = json!({"command": "echo first; echo the disk is on fire >&2; exit 3", "shell": true, "path": "worker",
            "backoff": {"initial": "50ms", "max": "50ms", "limit": 2}});
    });
    fs::create_dir(home.path("worker")).unwrap();
    home.ctl(&["up", "worker"]).code(1);
    home.wait_for("worker", "it gave up", |s| s.state == "failed");
    let fault = only(&home, "failing");
    shows(&fault, "exited with code 3");
    shows(&fault, "| the disk is on fire");
    shows(&fault, " why worker");
    assert!(mend(&fault).ends_with(" start worker"), "{fault:#}");
    home.ctl(&["doctor", "worker"]).code(1).says("the disk is on fire");
    home.ctl(&["doctor", "core"]).code(0);
}

#[test]
fn a_service_that_runs_and_is_not_healthy() {
    let home = site();
    up(&home);
    home.write("core/sick", "");
    home.wait_for("core", "it is not healthy", |s| s.state == "running" && s.health == "unhealthy");
    let fault = only(&home, "unhealthy");
    assert_eq!(fault["service"], "core");
    shows(&fault, "unhealthy");
    mended(&home, &fault);
    home.wait_for("core", "healthy again", |s| s.state == "running" && s.health == "healthy");
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
}

#[test]
fn a_service_that_waits_for_another_one() {
    let home = site_with(|services, _| services["worker"]["depends_on"] = json!(["core"]));
    fs::remove_file(home.path("core/run.py")).unwrap();
    home.ctl(&["start", "worker", "--no-wait"]).code(0);
    home.wait_for("worker", "it waits", |s| s.state == "blocked");
    let faults = found(&home);
    let fault = faults.iter().find(|finding| finding["id"] == "blocked").unwrap();
    shows(fault, "core");
    assert!(mend(fault).ends_with(" doctor core"), "no start helps: {fault:#}");
}

#[test]
fn output_that_python_keeps_to_itself() {
    let home = site_with(|services, _| {
        services["core"]["env"].as_object_mut().unwrap().remove("PYTHONUNBUFFERED");
    });
    up(&home);
    let warning = only(&home, "output-buffered");
    assert_eq!((weight(&warning), warning["service"].as_str()), ("warning", Some("core")));
    shows(&warning, "PYTHONUNBUFFERED is not set");
    mended(&home, &warning);
    home.wait_for("core", "healthy again", |s| s.health == "healthy" && s.state == "running");
    harness::wait::until("its first line is captured", || {
        home.lines_so_far("core").is_ok_and(|lines| !lines.is_empty())
    });
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
}

#[test]
fn a_keycloak_without_the_realm() {
    let home = site();
    up(&home);
    home.write("keycloak/no-realm", "");
    let fault = only(&home, "realm-missing");
    shows(&fault, "/realms/hivematrix: 404");
    assert!(mend(&fault).contains("kcadm.sh create realms -s realm=hivematrix"), "{fault:#}");
}

#[test]
fn a_copy_of_services_json_that_is_gone_while_it_runs() {
    let home = site();
    up(&home);
    fs::remove_file(home.path("nexus/services.json")).unwrap();
    let fault = only(&home, "services-json-copy");
    assert_eq!(weight(&fault), "fault");
    heals(&home, &fault);
}
