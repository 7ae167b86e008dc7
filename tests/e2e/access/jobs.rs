//! Operations that nobody waits for: one for the same request, told to whoever may know, kept over helmd's end.

use harness::home::{Home, fixture};
use harness::wait::eventually;
use harness::watch::block_on;
use helm_client::{Jobs, Reason};
use helm_proto::v1::{Job, StartJobRequest};
use serde_json::json;
use tokio_stream::StreamExt;

use super::{acting, denied, principal, refused};

/// `slow` takes its time to stop.
fn started() -> Home {
    let home = Home::new(&json!({
        "a": {"command": fixture("chatty", "rate=5")},
        "b": {"command": fixture("chatty", "rate=5")},
        "slow": {"command": fixture("stubborn", ""), "stop": {"grace": "3s"}},
    }));
    home.write("instance/helm.conf", "[roles]\ntechnician = a\ntechnician.operate = a\n");
    home.ctl(&["up"]).code(0);
    home
}

fn job(kind: &str, names: &[&str]) -> StartJobRequest {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    StartJobRequest { kind: kind.into(), names, ..Default::default() }
}

async fn jobs(home: &Home, via: &str, role: &str) -> Jobs {
    Jobs::of(&acting(home, &principal(via, role)).await).await.unwrap()
}

async fn ended(jobs: &Jobs, id: &str) -> Job {
    let mut watch = jobs.watch(id).await.unwrap();
    let mut last = None;
    while let Some(message) = watch.next().await {
        last = Some(message.unwrap());
    }
    last.expect("a message")
}

#[test]
fn the_same_request_is_the_same_job_until_it_ends() {
    let home = started();
    block_on(async {
        let mut admin = jobs(&home, "session", "admin").await;
        let first = admin.start(job("stop", &["slow"])).await.unwrap();
        assert_eq!(first.state, "running");
        assert_eq!(admin.start(job("stop", &["slow"])).await.unwrap().id, first.id);
        let last = ended(&admin, &first.id).await;
        assert_eq!((last.state.as_str(), last.services.len()), ("done", 1), "{last:?}");
        assert!(last.ended_at.is_some() && last.by.contains("Ada (session 5f3c)"), "{last:?}");
        assert_ne!(admin.start(job("stop", &["slow"])).await.unwrap().id, first.id, "another one by now");
        assert!(admin.list().await.unwrap().iter().any(|known| known.id == first.id));
    });
}

#[test]
fn a_job_outlives_helmd() {
    let home = started();
    let id = block_on(async {
        let mut admin = jobs(&home, "session", "admin").await;
        admin.start(job("stop", &["slow"])).await.unwrap().id
    });
    home.ctl(&["daemon", "reexec"]).code(0);
    home.answers();
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    block_on(async {
        let admin = jobs(&home, "session", "admin").await;
        let last = ended(&admin, &id).await;
        assert_eq!(last.state, "done", "{last:?}");
    });
    assert_eq!(home.status("slow").state, "stopped");
}

#[test]
fn a_reload_is_a_job_over_the_lives_that_it_takes() {
    let home = started();
    home.write_services(&json!({
        "a": {"command": fixture("chatty", "rate=6")},
        "b": {"command": fixture("chatty", "rate=5")},
    }));
    let id = block_on(async {
        let mut admin = jobs(&home, "session", "admin").await;
        admin.start(job("reload", &[])).await.unwrap().id
    });
    let last = eventually("it ends", || {
        // Its stream ends with each life of helmd.
        home.answers();
        let last = block_on(async {
            let mut watch = jobs(&home, "session", "admin").await.watch(&id).await.ok()?;
            let mut last: Option<Job> = None;
            while let Some(Ok(message)) = watch.next().await {
                last = Some(message);
            }
            last
        });
        last.filter(|job| job.ended_at.is_some()).ok_or_else(|| "it goes on".to_owned())
    });
    assert_eq!(last.state, "done", "{last:?}");
    let listed = home.ctl(&["list", "--json"]).code(0).out;
    assert!(!listed.contains("slow"), "{listed}");
}

#[test]
fn jobs_are_begun_and_seen_by_those_who_may() {
    let home = started();
    block_on(async {
        let mut admin = jobs(&home, "session", "admin").await;
        let theirs = admin.start(job("restart", &["b"])).await.unwrap().id;
        let mut technician = jobs(&home, "user", "technician").await;
        denied(technician.start(job("restart", &["b"])).await);
        denied(technician.start(job("up", &[])).await);
        denied(technician.start(job("reload", &[])).await);
        assert_eq!(refused(technician.get(&theirs).await).0, Reason::UnknownEntry);
        let own = technician.start(job("restart", &["a"])).await.unwrap().id;
        assert_eq!(ended(&technician, &own).await.state, "done");
        let seen: Vec<String> = technician.list().await.unwrap().into_iter().map(|job| job.id).collect();
        assert_eq!(seen, [own]);
        for odd in [job("explode", &["a"]), job("start", &["nothing"]), job("reload", &["a"])] {
            refused(admin.start(odd).await);
        }
        denied(jobs(&home, "user", "client").await.start(job("stop", &["a"])).await);
    });
}
