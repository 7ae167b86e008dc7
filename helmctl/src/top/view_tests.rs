//! Screens, as text: a few and a hundred services, a small and a large terminal.

use helm_proto::Timestamp;
use helm_proto::v1::{DependencyInfo, ServiceInfo, ServiceStatus, WatchStatusResponse};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::top::history::Points;
use crate::top::layout::Size;
use crate::top::model::{Event, Helmd};
use crate::top::pane;

const SECOND: i64 = 1_000_000_000;
const NOW: i64 = 10_000 * SECOND;

fn service(nth: u32, name: &str, state: &str) -> ServiceStatus {
    let at = Timestamp { seconds: 10_000 - 100 * i64::from(nth % 50 + 1), nanos: 0 };
    let running = state == "running";
    ServiceStatus {
        name: name.into(),
        state: state.into(),
        health: if running { "healthy" } else { "unknown" }.into(),
        health_message: if running { "HTTP 200 from /health" } else { "" }.into(),
        health_latency_us: running.then_some(1_340),
        reason: if running { "running and ready" } else { "stopped by uid 0 (helmctl)" }.into(),
        wanted: running,
        pid: running.then_some(4_000 + nth),
        port: Some(5_000 + nth),
        since: Some(at),
        started_at: Some(at),
        cpu_percent: running.then_some(f64::from(nth % 7) * 3.1),
        memory_bytes: running.then_some(u64::from(nth % 9 + 1) << 24),
        mode: "development".into(),
        ..Default::default()
    }
}

/// Of `count` services some have each kind of trouble.
fn fleet(count: u32) -> Vec<ServiceStatus> {
    let names = ["keycloak", "core", "nexus", "codex", "ledger"];
    let name = |nth: u32| match names.get(nth as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("worker-{nth}"),
    };
    let one = |nth: u32| match nth % 20 {
        2 => ServiceStatus {
            next_start_ms: Some(12_000),
            restarts: 4,
            reason: "exited with code 7 after 3 s".into(),
            last_exit: Some("code 7".into()),
            ..service(nth, &name(nth), "backoff")
        },
        3 => service(nth, &name(nth), "stopped"),
        4 => ServiceStatus {
            health: "unhealthy".into(),
            health_message: "HTTP 503 from /health: database away\u{1b}[2J".into(),
            ..service(nth, &name(nth), "running")
        },
        _ => service(nth, &name(nth), "running"),
    };
    (0..count).map(one).collect()
}

fn model(width: u16, height: u16, count: u32) -> Model {
    let mut model = Model::new(Size { width, height });
    let services = fleet(count);
    let info = ServiceInfo {
        name: "core".into(),
        path: "/srv/hive/core".into(),
        restart: "on-failure".into(),
        probes: vec!["ready: http /health".into()],
        depends_on: vec![DependencyInfo { service: "keycloak".into(), condition: "healthy".into() }],
        ..Default::default()
    };
    let helmd = Helmd { home: "/srv/hive/helm".into(), alerts: Vec::new(), services: vec![info] };
    model.update(NOW, Event::Helmd(Box::new(helmd)));
    for (nth, service) in (0i64..).zip(&services).filter(|(_, s)| s.pid.is_some()) {
        let at = |i: i64| NOW - (i + 1) * 5 * SECOND;
        let curve =
            |scale: i64| (0..119).rev().map(|i| (at(i), ((i / 12 + nth) % 7 * scale) as f64)).collect();
        let points = Points { cpu: curve(3), memory: curve(9_000_000) };
        model.update(NOW, Event::History { service: service.name.clone(), points });
    }
    model.update(NOW, Event::Status(WatchStatusResponse { complete: true, services, ..Default::default() }));
    model
}

fn press(model: &mut Model, keys: &str) {
    use crossterm::event::{KeyCode, KeyEvent};
    for key in keys.chars() {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        model.update(model.now, Event::Key(KeyEvent::from(code)));
    }
}

fn terminal(model: &Model, colours: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(model.size.width, model.size.height)).unwrap();
    terminal.draw(|frame| draw(frame, model, Theme { colours })).unwrap();
    terminal
}

fn screen(model: &Model) -> String {
    terminal(model, true).backend().to_string()
}

#[test]
fn five_services_80x24() {
    let mut model = model(80, 24, 5);
    press(&mut model, "j");
    insta::assert_snapshot!(screen(&model));
}

#[test]
fn five_services_200x50() {
    let mut model = model(200, 50, 5);
    press(&mut model, "jj");
    insta::assert_snapshot!(screen(&model));
}

#[test]
fn a_hundred_services_80x24() {
    let mut model = model(80, 24, 100);
    press(&mut model, "ojjj  ");
    insta::assert_snapshot!(screen(&model));
}

#[test]
fn a_hundred_services_200x50() {
    let mut model = model(200, 50, 100);
    press(&mut model, "Gk");
    insta::assert_snapshot!(screen(&model));
}

#[test]
fn the_whole_pane_with_what_is_searched() {
    let mut model = model(80, 24, 5);
    press(&mut model, "j3\n");
    let line =
        |i: u32| pane::Line::new(&format!("{i:03} GET /orders/{i} 200 \x1b[32mok\x1b[0m"), Tone::Plain);
    // The third pane: the overviews of the first two services came before.
    model.update(NOW, Event::Lines { pane: 3, lines: (0..60).map(line).collect() });
    press(&mut model, "/orders/3\n");
    insta::assert_snapshot!(screen(&model));
}

#[test]
fn a_question_before_several_are_stopped() {
    let mut model = model(80, 24, 100);
    press(&mut model, "ax");
    insta::assert_snapshot!(screen(&model));
}

#[test]
fn the_help_fits_the_smallest_screen() {
    let mut model = model(80, 24, 5);
    press(&mut model, "?");
    insta::assert_snapshot!(screen(&model));
}

#[test]
fn what_must_be_known_is_above_the_list() {
    let mut model = model(80, 24, 5);
    let alerts = vec!["services.json is broken".into(), "wishes were lost".into(), "a third one".into()];
    model.update(NOW, Event::Helmd(Box::new(Helmd { alerts, ..Default::default() })));
    model.update(NOW, Event::Away);
    model.update(NOW + 200 * SECOND, Event::Tick);
    let screen = screen(&model);
    let lines: Vec<&str> = screen.lines().map(|line| line.trim_matches(['"', ' '])).collect();
    assert_eq!(
        lines[1..4],
        [
            "helmd is not reachable; waiting (3m). Services go on; this is how they were.",
            "warning: services.json is broken",
            "(1 more) warning: wishes were lost",
        ]
    );
}

/// Any size is drawn, and a window that is too small for everything still has the list and its selection.
#[test]
fn no_size_is_too_small() {
    for (width, height) in [(1, 1), (20, 3), (40, 8), (79, 10), (300, 5)] {
        let mut model = model(80, 24, 30);
        model.update(NOW, Event::Resize(Size { width, height }));
        for keys in ["", "/", "?", "ax", "y3\n"] {
            press(&mut model, keys);
            screen(&model);
        }
    }
    let mut model = model(80, 24, 30);
    model.update(NOW, Event::Resize(Size { width: 40, height: 6 }));
    press(&mut model, "G");
    assert!(screen(&model).contains("worker-29"), "{}", screen(&model));
}

/// Without colours nothing is told by colour alone, and nothing is coloured.
#[test]
fn no_colours_where_none_are_wanted() {
    let model = model(80, 24, 5);
    let terminal = terminal(&model, false);
    let cells = &terminal.backend().buffer().content;
    assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}

/// Drawn again without news, nothing is written.
#[test]
fn nothing_new_is_nothing_written() {
    let mut model = model(80, 24, 100);
    let mut terminal = terminal(&model, true);
    let before = terminal.backend().buffer().clone();
    model.update(NOW, Event::Tick);
    terminal.draw(|frame| draw(frame, &model, Theme { colours: true })).unwrap();
    assert_eq!(before.diff(terminal.backend().buffer()), []);
}
