//! What a service needs before it can start.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::Command;

use harness::home::{Said, free_port};
use serde_json::json;

use super::site::{STRANGER, give, keys, mode, site, site_with};
use super::{found, heals, mend, mended, only, shows, weight};

#[test]
fn a_directory_that_is_not_there() {
    let home = site_with(|services, _| services["core"]["path"] = json!("hivematrix-core"));
    let fault = only(&home, "not-installed");
    assert_eq!(weight(&fault), "warning", "it is passed over");
    shows(&fault, "hivematrix-core");
    assert!(
        mend(&fault).ends_with("/services.json") && mend(&fault).starts_with("${EDITOR:-vi} +"),
        "{fault:#}"
    );
    // With a repository to clone it from.
    let git = |words: &[&str]| {
        let done = Command::new("git").args(words).current_dir(home.dir()).output().unwrap();
        assert!(done.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["init", "-q", "origin"]);
    let copied = Command::new("cp").args(["-rT", "core", "origin"]).current_dir(home.dir()).status().unwrap();
    assert!(copied.success());
    git(&["-C", "origin", "add", "-A"]);
    git(&["-C", "origin", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all"]);
    let registry =
        json!({"core_apps": {"core": {"name": "Core", "git_url": home.path("origin"), "port": 5000}}});
    home.write("apps_registry.json", &registry.to_string());
    let warning = only(&home, "not-installed");
    assert!(mend(&warning).starts_with("git clone "), "{warning:#}");
    mended(&home, &warning);
    let script = home.path("hivematrix-core/run.py");
    fs::remove_file(&script).unwrap();
    let fault = found(&home).into_iter().find(|finding| finding["id"] == "script-missing").unwrap();
    mended(&home, &fault);
    assert!(script.is_file());
}

#[test]
fn a_directory_that_helmds_user_may_not_enter() {
    let home = site();
    give(home.dir(), STRANGER);
    mode(home.dir(), 0o755);
    chown(home.path("core"), Some(0), Some(0)).unwrap();
    mode(&home.path("core"), 0o700);
    let inner = home.helmctl(&["doctor", "core", "--json"]);
    let mut outer = Command::new("setpriv");
    let user = STRANGER.to_string();
    outer.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(inner.get_program());
    let said = Said::of(&outer.args(inner.get_args()).current_dir("/").output().unwrap()).code(1);
    let fault = said.json()["findings"][0].clone();
    assert_eq!(fault["id"], "permissions", "{}", said.out);
    shows(&fault, "/core: permission denied");
    assert!(mend(&fault).starts_with(&format!("sudo chown -R {user} ")), "{fault:#}");
}

#[test]
fn something_outside_that_it_needs() {
    let home = site();
    let (postgres, redis) = (TcpListener::bind("127.0.0.1:0").unwrap(), free_port());
    let registry = json!({
        "core_apps": {"core": {"name": "Core", "port": 5000, "dependencies": ["postgresql", "redis"]}},
        "system_dependencies": {
            "postgresql": {"port": postgres.local_addr().unwrap().port()},
            "redis": {"port": redis},
        },
    });
    home.write("apps_registry.json", &registry.to_string());
    let warning = only(&home, "outside-away");
    assert_eq!((weight(&warning), warning["service"].as_str()), ("warning", Some("core")));
    shows(&warning, &format!("127.0.0.1:{redis}: Connection refused"));
    assert!(mend(&warning).ends_with("systemctl start redis-server"), "{warning:#}");
}

#[test]
fn a_virtual_environment_that_is_not_there() {
    let home = site();
    fs::remove_file(home.path("nexus/pyenv/bin/python")).unwrap();
    let fault = only(&home, "venv-missing");
    assert_eq!(fault["service"], "nexus");
    shows(&fault, "nexus/pyenv/bin/python is not there");
    // Python went away below it.
    symlink("/usr/bin/python3.4", home.path("nexus/pyenv/bin/python")).unwrap();
    let fault = only(&home, "venv-missing");
    shows(&fault, "leads to /usr/bin/python3.4");
    heals(&home, &fault);
}

#[test]
fn a_script_that_is_not_there() {
    let home = site();
    fs::remove_file(home.path("core/run.py")).unwrap();
    shows(&only(&home, "script-missing"), "core/run.py is not there");
}

#[test]
fn a_program_that_may_not_be_executed() {
    let home = site();
    mode(&home.path("keycloak/bin/kc.sh"), 0o644);
    let fault = only(&home, "not-executable");
    shows(&fault, "kc.sh has no right x");
    heals(&home, &fault);
}

#[test]
fn a_program_of_a_virtual_environment_that_is_not_there() {
    let home = site_with(|services, _| {
        services["worker"]["command"] = json!(["venv/bin/gunicorn", "app"]);
        services["worker"]["path"] = json!("worker");
    });
    home.write("worker/requirements.txt", "gunicorn\n");
    let faults = found(&home);
    let fault = faults.iter().find(|finding| finding["id"] == "venv-missing").unwrap();
    shows(fault, "worker/venv/bin/gunicorn is not there");
    assert!(mend(fault).contains("worker/venv/bin/pip install -r "), "{fault:#}");
}

#[test]
fn a_program_that_is_in_no_directory_of_the_path() {
    let home = site_with(|services, _| services["worker"]["command"] = json!(["no-such-program"]));
    shows(&only(&home, "program-missing"), "`no-such-program` is in no directory of the PATH");
}

#[test]
fn an_env_file_that_is_not_there() {
    let home = site_with(|services, _| services["core"]["env_file"] = json!("secrets.env"));
    shows(&only(&home, "env-file-missing"), "core/secrets.env is not there");
}

#[test]
fn a_copy_of_services_json_that_is_missing_or_leads_to_nothing() {
    let home = site();
    let copy = home.path("core/services.json");
    fs::remove_file(&copy).unwrap();
    let warning = only(&home, "services-json-copy");
    assert_eq!(weight(&warning), "warning", "the next start writes it");
    symlink("../gone/services.json", &copy).unwrap();
    let fault = only(&home, "services-json-copy");
    assert_eq!(weight(&fault), "fault", "no start mends it");
    shows(&fault, "leads to ../gone/services.json");
    heals(&home, &fault);
    assert!(fs::read_to_string(&copy).unwrap().contains("keycloak"));
}

#[test]
fn a_secret_key_that_nobody_set() {
    let home = site();
    home.write("core/.flaskenv", "FLASK_APP=run.py\n");
    let fault = only(&home, "secret-key-missing");
    shows(&fault, "core/.flaskenv");
    heals(&home, &fault);
    // Without an end of its last line; and where there is no file yet.
    home.write("core/.flaskenv", "FLASK_APP=run.py");
    heals(&home, &only(&home, "secret-key-missing"));
    assert!(home.read("core/.flaskenv").starts_with("FLASK_APP=run.py\nSECRET_KEY="));
    fs::remove_file(home.path("core/.flaskenv")).unwrap();
    heals(&home, &only(&home, "secret-key-missing"));
    assert_eq!(fs::metadata(home.path("core/.flaskenv")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn keys_that_core_cannot_sign_with() {
    let home = site();
    fs::remove_file(home.path("core/keys/jwt_public.pem")).unwrap();
    let fault = only(&home, "jwt-keys");
    shows(&fault, "keys/jwt_public.pem is not there");
    heals(&home, &fault);
    home.write("core/keys/jwt_private.pem", &keys().other);
    let fault = only(&home, "jwt-keys");
    shows(&fault, "is not the public key of");
    heals(&home, &fault);
    assert_eq!(home.read("core/keys/jwt_public.pem.former"), keys().public, "put aside");
    fs::remove_dir_all(home.path("core/keys")).unwrap();
    let fault = only(&home, "jwt-keys");
    shows(&fault, "keys/jwt_private.pem is not there");
    heals(&home, &fault);
}

#[test]
fn a_key_that_cannot_be_read_is_not_one_that_is_of_no_use() {
    let home = site();
    let key = home.path("core/keys/jwt_private.pem");
    let words = ["pkey", "-aes128", "-passout", "pass:x", "-in"];
    let mut encrypt = Command::new("openssl");
    encrypt.args(words).arg(&key).arg("-out").arg(home.path("encrypted"));
    assert!(encrypt.output().unwrap().status.success());
    fs::rename(home.path("encrypted"), &key).unwrap();
    mode(&key, 0o600);
    let warning = only(&home, "jwt-keys");
    assert_eq!(weight(&warning), "warning");
    shows(&warning, "jwt_private.pem is encrypted");
    // The operator knows the password.
    let mut filled = warning.clone();
    filled["mend"] = mend(&warning).replace("pkey -in", "pkey -passin pass:x -in").into();
    heals(&home, &filled);
    // root's, and Core is another user.
    give(home.dir(), STRANGER);
    mode(home.dir(), 0o755);
    chown(&key, Some(0), Some(0)).unwrap();
    let fault = only(&home, "jwt-keys");
    assert_eq!(weight(&fault), "fault");
    shows(&fault, "jwt_private.pem may not be read by the user that it runs as");
    heals(&home, &fault);
    // Whoever looks is neither.
    let inner = home.helmctl(&["doctor", "core", "--json"]);
    let mut outer = Command::new("setpriv");
    let user = (STRANGER + 1).to_string();
    outer.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(inner.get_program());
    let said = Said::of(&outer.args(inner.get_args()).current_dir("/").output().unwrap()).code(0);
    let warning = said.json()["findings"][0].clone();
    assert_eq!((warning["id"].as_str(), weight(&warning)), (Some("jwt-keys"), "warning"), "{}", said.out);
}

#[test]
fn a_certificate_that_has_expired() {
    let home = site();
    home.write("nexus/certs/nexus.crt", &keys().expired);
    let fault = only(&home, "certificate-expired");
    shows(&fault, "nexus.crt was valid until");
    heals(&home, &fault);
    assert_eq!(home.read("nexus/certs/nexus.crt.former"), keys().expired, "put aside");
    assert_eq!(home.read("nexus/certs/nexus.key"), keys().private, "kept");
}

#[test]
fn a_certificate_that_is_none_or_has_another_key() {
    let home = site();
    home.write("nexus/certs/nexus.key", &keys().other);
    shows(&only(&home, "certificate-unreadable"), "nexus.key is not the key of");
    home.write("nexus/certs/nexus.crt", "hello");
    let fault = only(&home, "certificate-unreadable");
    shows(&fault, "nexus.crt: is no certificate in PEM");
    heals(&home, &fault);
    fs::remove_file(home.path("nexus/certs/nexus.crt")).unwrap();
    heals(&home, &only(&home, "certificate-missing"));
}

#[test]
fn no_java_for_keycloak_or_one_that_is_too_old() {
    let home = site_with(|services, _| services["keycloak"]["env"]["PATH"] = json!("/usr/sbin"));
    let fault = only(&home, "java-missing");
    shows(&fault, "no program `java` in the PATH");
    assert!(mend(&fault).contains("apt install -y openjdk-17-jre-headless"), "{fault:#}");
    let home = site_with(|services, _| services["keycloak"]["env"]["JAVA_HOME"] = json!("/nowhere"));
    shows(&only(&home, "java-missing"), "JAVA_HOME (/nowhere)");
    let old = home.path("jdk-11").display().to_string();
    home.write("jdk-11/bin/java", "#!/bin/sh\n");
    mode(&home.path("jdk-11/bin/java"), 0o755);
    home.write("jdk-11/release", "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"11.0.2\"\n");
    let text = home.read("services.json").replace("/nowhere", &old);
    home.write("services.json", &text);
    shows(&only(&home, "java-old"), "is Java 11");
}

#[test]
fn a_service_that_sends_its_log_elsewhere() {
    let home = site();
    home.write("core/.flaskenv", "SECRET_KEY=x\nHELM_SERVICE_URL=http://localhost:5005\n");
    let fault = only(&home, "helm-url");
    shows(&fault, "HELM_SERVICE_URL is http://localhost:5005, Helm is at http://helm.example.org:5004");
    heals(&home, &fault);
    assert_eq!(home.read("core/.flaskenv"), "SECRET_KEY=x\nHELM_SERVICE_URL=http://helm.example.org:5004\n");
}
