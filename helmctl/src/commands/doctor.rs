//! `doctor`

use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use helm_client::Home;
use helm_client::doctor::{Doctor, daemon};
use helm_core::doctor::{Brief, Finding, Fix, Line, Weight, quoted};
use tokio::time::timeout;

use crate::failure::Failure;
use crate::render::{Printer, Sheet, doctor, note, screen, warn};

/// A check that lasts longer than this is named.
const LASTS: Duration = Duration::from_millis(300);

/// What was typed.
pub(super) struct Asked {
    /// Only this service.
    pub(super) name: Option<String>,
    /// Mend, too.
    pub(super) fix: bool,
    /// Without asking.
    pub(super) yes: bool,
    /// The home was named: commands for it must name it, too.
    pub(super) named: bool,
}

pub(super) async fn run(home: &Home, asked: Asked, printer: &mut Printer) -> Result<(), Failure> {
    let Asked { name, fix, yes, named } = asked;
    let (findings, checks) = look(home, name.as_deref(), named).await?;
    if printer.wants_json() {
        printer.value(&doctor::Found::new(&findings, checks), true)?;
    } else {
        printer.block(&doctor::found(&findings, checks, Sheet::stdout()))?;
    }
    if fix {
        let fixes: Vec<&Fix> = findings.iter().filter_map(|finding| finding.fix.as_ref()).collect();
        if !fixes.is_empty() && !yes && !io::stdin().is_terminal() {
            let why =
                "nothing was mended: --fix asks before each, and for that it needs a terminal; or say --yes";
            return Err(Failure::Usage(why.to_owned()));
        }
        mend(home, &fixes, yes).await?;
    }
    if findings.iter().any(|finding| finding.weight == Weight::Fault) {
        return Err(Failure::Found);
    }
    Ok(())
}

async fn look(home: &Home, name: Option<&str>, named: bool) -> Result<(Vec<Finding>, u32), Failure> {
    let helmctl = match named {
        true => format!("helmctl --home {}", quoted(&home.path().to_string_lossy())),
        false => "helmctl".to_owned(),
    };
    let brief = Brief { helmctl, daemon: daemon(home).await? };
    let mut doctor = Doctor::look(home, name, &brief).await?;
    let (mut findings, mut under_way) = (Vec::new(), UnderWay::default());
    loop {
        let line = match timeout(LASTS, doctor.next()).await {
            Ok(line) => line?,
            Err(_) => {
                under_way.show();
                doctor.next().await?
            }
        };
        under_way.clear();
        match line {
            Some(Line::Check(words)) => under_way.words = words,
            Some(Line::Finding(finding)) => findings.push(*finding),
            Some(Line::Done(checks)) => return Ok((findings, checks)),
            Some(Line::Unknown(near)) => {
                let name = name.unwrap_or_default();
                let hint = if near.is_empty() { "helmctl list".to_owned() } else { format!("`{near}`?") };
                return Err(Failure::Unknown(format!("no service `{name}` runs anything here: {hint}")));
            }
            Some(Line::Failed(why)) => return Err(Failure::Failed(why)),
            Some(Line::Fixed(_) | Line::NotFixed(_)) => {}
            None => return Err(Failure::Failed("it broke off before everything was looked at".into())),
        }
    }
}

/// The check that runs, on a terminal where it lasts.
#[derive(Default)]
struct UnderWay {
    words: String,
    shown: bool,
}

impl UnderWay {
    fn show(&mut self) {
        if screen::can_redraw(&io::stderr()) {
            // Nobody is left to be told.
            let _ = screen::write(&mut io::stderr().lock(), &format!("looking at {} …\r", self.words));
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = screen::write(&mut io::stderr().lock(), "\x1b[2K\r");
            self.shown = false;
        }
    }
}

/// Asks for each, and does what was agreed to.
async fn mend(home: &Home, fixes: &[&Fix], yes: bool) -> Result<(), Failure> {
    let mut agreed: Vec<Fix> = Vec::new();
    for fix in fixes {
        if !agreed.contains(fix) && (yes || agrees(fix)?) {
            agreed.push((*fix).clone());
        }
    }
    if agreed.is_empty() {
        note("nothing was mended");
        return Ok(());
    }
    let mut doctor = Doctor::fix(home, &agreed).await?;
    while let Some(line) = doctor.next().await? {
        match line {
            Line::Fixed(what) => note(&format!("done: {what}")),
            Line::NotFixed(why) => warn(&format!("not done: {why}")),
            Line::Failed(why) => return Err(Failure::Failed(why)),
            Line::Check(_) | Line::Finding(_) | Line::Done(_) | Line::Unknown(_) => {}
        }
    }
    note("look again: helmctl doctor");
    Ok(())
}

/// An end of the input is a no.
fn agrees(fix: &Fix) -> Result<bool, Failure> {
    write!(io::stderr(), "{fix}? [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim_start().starts_with(['y', 'Y']))
}
