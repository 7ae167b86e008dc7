//! `dashboard`, `token`, `session`

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use helm_client::{Access, Client, Home};
use helm_proto::v1::{AuditRequest, CreateTokenRequest};
use helm_shapes::time::optional;

use crate::access_cli::CreateArgs;
use crate::cli::{DashboardArgs, SessionVerb, TokenVerb};
use crate::failure::Failure;
use crate::render::{self, Printer, Sheet, json_access as json};

/// The name under which helm-web runs, and where it listens.
const HELM: &str = "helm";
const PORT: u32 = 5004;
/// Entries of the audit trail that one answer holds.
const PAGE: u32 = 1000;

/// `dashboard`
pub(super) async fn dashboard(
    home: &Home,
    args: DashboardArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut client = Client::of(home).await?;
    let services = client.list().await?;
    let port = services.iter().find(|service| service.name == HELM).and_then(|service| service.port);
    let code = Access::of(&client).await?.sign_in_code().await?;
    // By address: what `localhost` means is for others to say.
    let link = format!("http://127.0.0.1:{}/sign-in?code={}", port.unwrap_or(PORT), code.code);
    if printer.wants_json() {
        return printer.value(&json::Link { link, expires_at: optional(code.expires_at) }, true);
    }
    printer.line(&link)?;
    render::note("it works once, within a minute, in a browser of this host that runs as you");
    if args.no_browser || !printer.is_terminal() {
        return Ok(());
    }
    match browser() {
        Some(browser) => {
            open(&browser, &link).map_err(|e| Failure::Failed(format!("no browser was opened: {e}")))
        }
        None => Ok(()),
    }
}

/// What opens pages here, where there is a screen to open them on.
fn browser() -> Option<PathBuf> {
    let screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|key| std::env::var_os(key).is_some());
    let path = std::env::var_os("PATH").filter(|_| screen)?;
    std::env::split_paths(&path).map(|dir| dir.join("xdg-open")).find(|program| program.is_file())
}

/// Through a page that only we can read: everybody can read the words of a command.
fn open(browser: &Path, link: &str) -> io::Result<()> {
    let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) else { return Ok(()) };
    let page = dir.join("helm-sign-in.html");
    match fs::remove_file(&page) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&page)?;
    let text = format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0; url={link}\"><title>Helm</title><p>Signing in to Helm...</p>\n"
    );
    file.write_all(text.as_bytes())?;
    let mut command = Command::new(browser);
    command.arg(&page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It hands the page to a browser that runs, or becomes one: nobody waits for that.
    command.spawn().map(drop)
}

/// `token`
pub(super) async fn token(home: &Home, verb: TokenVerb, printer: &mut Printer) -> Result<(), Failure> {
    let mut access = Access::of(&Client::of(home).await?).await?;
    match verb {
        TokenVerb::Create(args) => create(&mut access, args, printer).await,
        TokenVerb::List => {
            let tokens = access.tokens().await?;
            if printer.wants_json() {
                let tokens: Vec<json::Token> = tokens.into_iter().map(json::Token::from).collect();
                return printer.value(&tokens, true);
            }
            if tokens.is_empty() {
                return printer.line("there is no API token; helmctl token create makes one");
            }
            printer.block(&render::access::tokens(&tokens, Sheet::stdout()))
        }
        TokenVerb::Revoke { id } => {
            access.revoke_token(&id).await?;
            if printer.wants_json() {
                return printer.value(&json::Gone { id }, true);
            }
            printer.line(&format!("{id} is revoked"))
        }
    }
}

async fn create(access: &mut Access, args: CreateArgs, printer: &mut Printer) -> Result<(), Failure> {
    let purpose = match (args.ingest, args.metrics) {
        (true, _) => "ingest",
        (false, true) => "metrics",
        (false, false) => "",
    };
    let request = CreateTokenRequest {
        name: args.name,
        role: args.role.unwrap_or_default(),
        purpose: purpose.to_owned(),
        services: args.services,
        lifetime: args.expires.map_or(0, |lifetime| lifetime.as_secs()),
    };
    let made = access.create_token(request).await?;
    if printer.wants_json() {
        return printer.value(&json::Made::from(made), true);
    }
    printer.line(&made.secret)?;
    let token = made.token.unwrap_or_default();
    render::note(&format!(
        "{}: it is shown this once; helmctl token revoke {} takes it back",
        token.name, token.id
    ));
    Ok(())
}

/// `audit`: the newest, told oldest first.
pub(super) async fn audit(
    home: &Home,
    last: u32,
    [since, until]: [Option<jiff::Timestamp>; 2],
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut access = Access::of(&Client::of(home).await?).await?;
    let nanos = |at: jiff::Timestamp| i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
    let (since, until) = (since.map(nanos), until.map(nanos));
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    let mut missing = last;
    while missing > 0 {
        let limit = missing.min(PAGE);
        let answer = access.audit(AuditRequest { limit, cursor, since, until }).await?;
        answer.notes.iter().for_each(|note| render::note(note));
        missing -= u32::try_from(answer.entries.len()).unwrap_or(limit).min(limit);
        entries.extend(answer.entries);
        cursor = answer.cursor;
        if cursor.is_empty() {
            break;
        }
    }
    entries.reverse();
    if printer.wants_json() {
        return entries.into_iter().try_for_each(|entry| printer.value(&json::Audit::from(entry), false));
    }
    if entries.is_empty() {
        return printer.line("nothing was changed in that time");
    }
    printer.block(&render::access::audit(&entries, Sheet::stdout()))
}

/// `session`
pub(super) async fn session(home: &Home, verb: SessionVerb, printer: &mut Printer) -> Result<(), Failure> {
    let mut access = Access::of(&Client::of(home).await?).await?;
    match verb {
        SessionVerb::List => {
            let sessions = access.sessions().await?;
            if printer.wants_json() {
                let sessions: Vec<json::Session> = sessions.into_iter().map(json::Session::from).collect();
                return printer.value(&sessions, true);
            }
            if sessions.is_empty() {
                return printer.line("nobody is signed in by helmctl dashboard");
            }
            printer.block(&render::access::sessions(&sessions, Sheet::stdout()))
        }
        SessionVerb::End { id } => {
            access.end_session(&id).await?;
            if printer.wants_json() {
                return printer.value(&json::Gone { id }, true);
            }
            printer.line(&format!("{id} is over"))
        }
    }
}
