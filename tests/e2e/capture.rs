//! Output: every byte as it was written, and nobody is held up by it.

use harness::capture;
use harness::home::{Home, fixture};
use harness::journal::{self, faults};
use harness::small::Small;
use harness::wait::{eventually, until};
use serde_json::json;

/// Waits until the captured lines are as they should be.
fn lines_until<T>(
    home: &Home,
    service: &str,
    what: &str,
    mut found: impl FnMut(&[capture::Line]) -> Option<T>,
) -> T {
    eventually(what, || {
        let lines = home.lines_so_far(service)?;
        found(&lines).ok_or_else(|| {
            let last: Vec<String> =
                lines.iter().rev().take(5).map(|l| l.lossy().chars().take(100).collect()).collect();
            format!("{} lines, the last ones: {last:?}", lines.len())
        })
    })
}

#[test]
fn bytes_come_back_as_they_were_written() {
    let home =
        Home::new(&json!({"odd": {"command": fixture("chatty", "odd long=10000000 rate=100 count=10")}}));
    home.ctl(&["up"]).code(0);
    lines_until(&home, "odd", "all lines", |lines| (lines.len() >= 25).then_some(()));
    let lines = home.lines("odd");
    let out: Vec<&[u8]> = lines.iter().filter(|l| l.stream == "stdout").map(|l| l.text.as_slice()).collect();
    assert_eq!(out[0].len(), 10_000_000, "a line of 10 MB in one piece");
    assert!(out[0].iter().all(|b| *b == b'x'));
    assert_eq!(&out[1..5], [&b"nul \0 byte"[..], b"not utf-8 \xff\xfe\x80 at all", b"", b"\r"]);
    let said = home.helmctl(&["output", "odd", "-n", "14", "--stream", "stdout"]).output().unwrap();
    assert!(
        said.stdout.starts_with(b"nul \0 byte\nnot utf-8 \xff\xfe\x80 at all\n\n\r\n"),
        "helmctl output alters bytes"
    );
}

#[test]
fn output_can_be_followed_and_chosen_by_stream() {
    let home = Home::new(&json!({"app": {"command": fixture("chatty", "rate=50")}}));
    home.ctl(&["up"]).code(0);
    lines_until(&home, "app", "some lines", |lines| (lines.len() > 20).then_some(()));
    let said = home.ctl(&["output", "app", "-n", "5", "--stream", "stderr"]).code(0);
    assert_eq!(said.out.lines().count(), 5);
    assert!(said.out.lines().all(|line| line.starts_with("stderr ")), "{}", said.out);
    let mut follow = home
        .helmctl(&["output", "app", "-n", "0", "-f"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let reader = std::io::BufReader::new(follow.stdout.take().unwrap());
    let got = std::io::BufRead::lines(reader).take(20).filter(Result::is_ok).count();
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert_eq!(got, 20);
}

#[test]
fn a_flood_is_kept_whole_and_its_neighbour_is_not_disturbed() {
    let home = Home::new(&json!({
        "flood": {"command": fixture("chatty", "rate=0 count=500000 width=100 streams=stdout"), "log": {"segment_size": "4M", "total_size": "4G"}},
        "calm": {"command": fixture("chatty", "rate=50")},
    }));
    home.ctl(&["up"]).code(0);
    let nonce = home.life("flood").nonce.clone();
    let heard = lines_until(&home, "flood", "500,000 lines", |lines| {
        let heard = journal::heard(lines).remove(&nonce)?;
        (heard.out.len() >= 500_000).then_some(heard)
    });
    assert_eq!(faults(&heard.out, Some(500_000)), []);
    let calm = home.status("calm");
    assert_eq!((calm.state.as_str(), calm.restarts), ("running", 0));
    home.ctl(&["down"]).code(0);
    let journal = home.journal("calm");
    let end = journal.lives[0].end.unwrap();
    let heard = journal::heard(&home.lines("calm")).remove(&journal.lives[0].nonce).unwrap();
    assert_eq!((faults(&heard.out, Some(end.out)), faults(&heard.err, Some(end.err))), (vec![], vec![]));
}

#[test]
fn files_are_rotated_compressed_and_bounded() {
    let home = Home::new(&json!({
        "app": {"command": fixture("chatty", "rate=0 count=100000 width=100"), "log": {"segment_size": "1M", "total_size": "3M"}},
    }));
    home.ctl(&["up"]).code(0);
    let nonce = home.life("app").nonce.clone();
    lines_until(&home, "app", "the last line", |lines| {
        journal::heard(lines)
            .remove(&nonce)
            .filter(|h| h.out.last() == Some(&100_000) && h.err.last() == Some(&100_000))
    });
    let names = |end: &str| {
        let files = std::fs::read_dir(home.path("logs/app")).unwrap().flatten();
        files.filter(|f| f.file_name().to_string_lossy().ends_with(end)).count()
    };
    until("closed files are compressed", || names(".log.gz") > 0);
    let size: u64 = std::fs::read_dir(home.path("logs/app"))
        .unwrap()
        .flatten()
        .filter(|f| f.file_name() != "current.log")
        .map(|f| f.metadata().unwrap().len())
        .sum();
    assert!(size <= 5 << 20, "{size} bytes although 3M are allowed (and one segment beyond)");
    let heard = journal::heard(&home.lines("app")).remove(&nonce).unwrap();
    let first = heard.out[0];
    assert!(first > 1, "nothing was thrown away");
    assert!(heard.out.iter().copied().eq(first..=100_000), "what is left is without a gap");
    let newest = *capture::segments(&home.path("logs/app")).unwrap().keys().last().unwrap();
    let content = home.read("logs/app/current.log");
    assert_eq!(content, home.read(&format!("logs/app/{newest:010}.log")), "current.log is the newest");
}

#[test]
fn a_service_that_closes_its_stdout_is_none_of_our_trouble() {
    let home = Home::new(&json!({
        "shut": {"command": "exec >&-; echo still here >&2; exec sleep 600", "shell": true},
        "calm": {"command": fixture("chatty", "rate=50")},
    }));
    home.ctl(&["up"]).code(0);
    lines_until(&home, "shut", "its stderr", |lines| {
        lines.iter().any(|l| l.text == b"still here").then_some(())
    });
    let keeper = home.keeper("shut").unwrap();
    let busy = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", keeper.pid)).unwrap();
        stat[stat.rfind(')').unwrap()..]
            .split(' ')
            .skip(12)
            .take(2)
            .map(|n| n.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    let before = busy();
    // A keeper that spins would use about 30 ticks while the neighbour writes 15 more lines.
    let mut count = 0;
    lines_until(&home, "calm", "more lines", |lines| {
        if count == 0 {
            count = lines.len();
        }
        (lines.len() >= count + 30).then_some(())
    });
    assert!(busy() - before < 10, "the keeper spins: {} ticks", busy() - before);
    home.ctl(&["down"]).code(0);
}

#[test]
fn a_grandchild_that_keeps_stdout_open_does_not_hold_up_the_restart() {
    let home = Home::new(&json!({
        "app": {
            "command": fixture("forker", "how=abandon after=100 code=6 depth=1 width=2 deaf session"),
            "stop": {"grace": "200ms"}, "backoff": {"initial": "20ms", "max": "20ms"},
        },
    }));
    home.ctl(&["start", "app", "--no-wait"]).code(0);
    let status = home.wait_for("app", "two restarts", |s| s.restarts >= 2);
    assert_eq!(status.last_exit.as_deref(), Some("code 6"));
    assert_eq!(home.journal("app").clashes, Vec::<String>::new());
}

#[test]
fn the_last_words_without_a_newline_are_kept() {
    let home = Home::new(
        &json!({"app": {"command": "printf 'one\\ntwo'; printf oops >&2; exit 1", "shell": true, "restart": "never"}}),
    );
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("app", "its end", |s| s.last_exit.as_deref() == Some("code 1") && s.pid.is_none());
    lines_until(&home, "app", "its words", |lines| {
        let mut texts: Vec<String> = lines.iter().map(capture::Line::lossy).collect();
        texts.sort();
        (texts == ["one", "oops", "two"]).then_some(())
    });
}

#[test]
fn a_full_disk_blocks_nobody_and_is_counted() {
    let home = Home::new(&json!({
        "app": {"command": fixture("chatty", "rate=10000 burst=500 width=200"), "log": {"compress": false}},
        "calm": {"command": fixture("chatty", "rate=20")},
    }));
    let small = Small::at(home.path("logs/app"));
    home.ctl(&["up"]).code(0);
    // What the log files cannot take waits for them in the keeper's spool; beyond that it is dropped.
    let dropped = |w: &String| {
        w.contains("output is dropped: No space left") || w.contains("output is dropped: no space left")
    };
    let status = home.wait_for("app", "the trouble is told", |s| s.warnings.iter().any(dropped));
    assert_eq!(status.state, "running");
    let written = || -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", status.pid.unwrap())).unwrap();
        io.lines().find_map(|l| l.strip_prefix("wchar: ")).unwrap().parse().unwrap()
    };
    let before = written();
    until("it goes on writing", || written() > before + 2_000_000);
    home.ctl(&["stop", "app"]).code(0);
    assert_eq!(home.status("app").state, "stopped", "stops still work");
    assert!(home.life("app").end.is_some());

    // Space again, and somebody has tidied up: what was kept is written, then the count of what was not.
    for entry in std::fs::read_dir(home.path("logs/app")).unwrap().flatten() {
        std::fs::remove_file(entry.path()).unwrap();
    }
    small.grow();
    home.ctl(&["start", "app"]).code(0);
    lines_until(&home, "app", "the count of dropped lines", |lines| {
        lines.iter().any(|l| l.lossy().starts_with("[helm]") && l.lossy().contains("dropped")).then_some(())
    });
    assert_eq!(home.status("calm").restarts, 0);
}

#[test]
fn a_home_on_a_full_disk_can_still_stop_its_services() {
    let home = Home::within("small", &json!({}));
    let small = Small::at(home.dir().to_owned());
    home.write("journal/keep", "");
    home.write_services(&json!({"app": {"command": fixture("chatty", "rate=5")}}));
    home.ctl(&["up"]).code(0);
    let filler = std::fs::File::create(home.path("filler")).unwrap();
    let mut filler = std::io::BufWriter::new(filler);
    let full =
        (0..).map(|_| std::io::Write::write_all(&mut filler, &[b'x'; 4096])).find_map(Result::err).unwrap();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    drop(filler);
    home.ctl(&["stop", "app"]);
    home.wait_for("app", "it is stopped", |s| s.state == "stopped");
    assert_eq!(crate::left(&home), Vec::<String>::new());
    drop(home);
    drop(small);
}

#[test]
fn a_fork_bomb_disturbs_nobody_and_is_killed_whole() {
    let home = Home::new(&json!({
        "bomb": {"command": [harness::bins::bin("bomb"), "count=count", "limit=2000"], "path": "bomb", "stop": {"grace": "0s"}},
        "calm": {"command": fixture("chatty", "rate=50")},
    }));
    std::fs::create_dir(home.path("bomb")).unwrap();
    home.ctl(&["start", "calm"]).code(0);
    home.ctl(&["start", "bomb", "--no-wait"]).code(0);
    until("it has grown", || home.read("bomb/count").len() >= 1000);
    home.ctl(&["stop", "bomb", "--timeout", "25"]).code(0);
    let of_bomb = || crate::left(&home).into_iter().filter(|c| c.contains("/bomb ")).count();
    assert_eq!(of_bomb(), 0);
    let calm = home.status("calm");
    assert_eq!((calm.state.as_str(), calm.restarts), ("running", 0));
}
