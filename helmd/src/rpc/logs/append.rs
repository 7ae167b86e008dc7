//! What programs send: judged entry by entry, kept by class, answered after the commit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use helm_core::access::{Action, Scope};
use helm_core::name::{AUDIT, ServiceName};
use helm_core::spec::LogRules;
use helm_core::time::Wall;
use helm_lines::is_health_probe;
use helm_lines::sent::{self, Field, Sent, Verdict};
use helm_proto::reason;
use helm_proto::v1::{AppendRequest, AppendResponse, NewLogEntry, Rejected};
use helm_store::commit::Once;
use helm_store::entry::{NewEntry, Source, flag};
use helm_store::heavy::heavy;
use helm_store::partition::Class;
use helm_store::writer::{APPEND_ROWS, Append, AppendError};
use tonic::Status;

use super::Result;
use super::convert::bad;
use crate::clock;
use crate::rpc::Api;
use crate::rpc::caller::Caller;
use crate::store::append::NotKept;
use crate::store::entry;

/// Longest name of a sender, and longest key.
const ONCE: usize = 200;

/// Entries of one class, with their places in the request.
#[derive(Default)]
struct Part {
    entries: Vec<NewEntry>,
    indexes: Vec<u32>,
}

/// What is to be kept, by class, and how many access lines of health probes are only counted, by service.
#[derive(Default)]
struct Judged {
    parts: BTreeMap<Class, Part>,
    probes: BTreeMap<ServiceName, u64>,
}

/// Keeps what can be kept.
pub(super) async fn append(api: &Api, caller: &Caller, request: AppendRequest) -> Result<AppendResponse> {
    let once = once(&request)?.map(|once| of_sender(once, caller));
    let scope = caller.scope(Action::Ingest);
    if request.entries.len() > APPEND_ROWS {
        return bad(format!(
            "{} entries in one batch, at most {APPEND_ROWS}: send it in pieces",
            request.entries.len()
        ));
    }
    let mut answer = AppendResponse::default();
    let bytes: usize = request.entries.iter().map(|entry| entry.message.len() + entry.context.len()).sum();
    // Of a large batch every text is looked at: others are to be answered meanwhile.
    let Judged { parts, probes } = heavy(bytes, || judge(api, &scope, request, &mut answer));
    let (mut kept, mut duplicates, mut failed) = (0_usize, 0_usize, Vec::new());
    for (class, part) in parts {
        let (entries, indexes) = (part.entries, part.indexes);
        let rows = indexes.len();
        let append = Append { class, entries, cursors: Vec::new(), once: once.clone(), queue: None };
        match api.store.append(append).await {
            Ok(done) => {
                kept += 1;
                duplicates += usize::from(done.receipt.duplicate);
                answer.queued |= done.queued;
                if !done.receipt.duplicate {
                    let rows = rows.saturating_sub(done.receipt.refused.len());
                    answer.kept += u32::try_from(rows).unwrap_or(u32::MAX);
                }
                answer.rejected.extend(done.receipt.refused.into_iter().filter_map(|refusal| {
                    let index = *indexes.get(refusal.index)?;
                    Some(Rejected { index, reason: refusal.reason })
                }));
            }
            Err(error) => failed.push((error, indexes)),
        }
    }
    // With a sequence or a key the whole may be sent again; without one, what another class kept must not be.
    if let Some((error, _)) = failed.first().filter(|_| once.is_some() || kept == 0) {
        return Err(status(error));
    }
    for (error, indexes) in failed {
        let reason = error.to_string();
        let rejected = indexes.into_iter().map(|index| Rejected { index, reason: reason.clone() });
        answer.rejected.extend(rejected);
    }
    answer.duplicate = kept > 0 && duplicates == kept;
    if !answer.duplicate {
        for (name, lines) in probes {
            answer.dropped = answer.dropped.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
            api.store.dropped().tell(name.as_str(), lines);
        }
    }
    answer.rejected.sort_by_key(|rejected| rejected.index);
    Ok(answer)
}

fn once(request: &AppendRequest) -> Result<Option<Once>> {
    let (sender, key) = (&request.sender, &request.idempotency_key);
    if sender.len() > ONCE || key.len() > ONCE {
        return bad(format!("the name of a sender and an idempotency key have at most {ONCE} bytes"));
    }
    // Keys of helmd's own begin with a control character: no sender can take one away.
    if sender.chars().chain(key.chars()).any(char::is_control) {
        return bad("the name of a sender and an idempotency key hold no control characters".to_owned());
    }
    match (sender.is_empty(), key.is_empty()) {
        (true, true) if request.sequence > 0 => bad("a sequence needs the name of its sender".to_owned()),
        (true, true) => Ok(None),
        (true, false) => Ok(Some(Once::Key(key.clone()))),
        (false, true) if request.sequence == 0 => {
            bad("a sender numbers its batches from 1: `sequence` is missing".to_owned())
        }
        (false, true) => Ok(Some(Once::Sequence { sender: sender.clone(), number: request.sequence })),
        (false, false) => bad("give a sender with a sequence or an idempotency key, not both".to_owned()),
    }
}

/// Over HTTP each sender numbers its batches for itself: nobody can make those of another one seem to be repetitions.
fn of_sender(once: Once, caller: &Caller) -> Once {
    let Some(principal) = caller.principal() else { return once };
    let own = |name: String| format!("{}:{}\u{1f}{name}", principal.credential.via(), principal.subject);
    match once {
        Once::Key(key) => Once::Key(own(key)),
        Once::Sequence { sender, number } => Once::Sequence { sender: own(sender), number },
    }
}

/// Judges each entry.
fn judge(api: &Api, scope: &Scope, request: AppendRequest, answer: &mut AppendResponse) -> Judged {
    let arrived = Wall(clock::wall().0);
    let mut judged = Judged::default();
    for (new, index) in request.entries.into_iter().zip(0_u32..) {
        let name = if new.service.is_empty() { &request.service } else { &new.service };
        let (name, entry, flags) = match verdict(scope, name, &new, arrived) {
            Ok(taken) => taken,
            Err(reason) => {
                answer.rejected.push(Rejected { index, reason });
                continue;
            }
        };
        let (class, drop_health) = api.rules_of(&name);
        if drop_health && is_health_probe(entry.body.searched()) {
            *judged.probes.entry(name).or_default() += 1;
            continue;
        }
        answer.repaired += u32::from(flags != 0);
        judged.parts.entry(class).or_default().push(index, &name, entry, flags);
    }
    judged
}

/// Whose an entry is, what is kept of it, and its flags; or why it is refused.
fn verdict(
    scope: &Scope,
    name: &str,
    new: &NewLogEntry,
    arrived: Wall,
) -> std::result::Result<(ServiceName, sent::SentEntry, u32), String> {
    let name = ServiceName::new(name).map_err(|error| error.to_string())?;
    if name.as_str() == AUDIT {
        return Err(format!("`{AUDIT}` is the name of Helm's own audit trail"));
    }
    if !scope.holds(name.as_str()) {
        return Err(format!("whoever sent it may not send log entries of `{name}`"));
    }
    match sent::repair(sent(new), arrived) {
        Verdict::Refused(refusal) => Err(refusal.to_string()),
        Verdict::Ok(entry) => Ok((name, entry, 0)),
        Verdict::Repaired(entry, _) => Ok((name, entry, flag::REPAIRED)),
    }
}

impl Part {
    fn push(&mut self, index: u32, name: &ServiceName, sent: sent::SentEntry, flags: u32) {
        let body = entry::of(name.as_str(), sent.body, Source::Sent);
        let flags = body.flags | flags;
        self.entries.push(NewEntry { flags, hostname: sent.hostname, process: sent.process_id, ..body });
        self.indexes.push(index);
    }
}

impl Api {
    /// Where the entries of a service are kept, and whether access lines of health probes are not.
    fn rules_of(&self, name: &ServiceName) -> (Class, bool) {
        let spec = self.specs.iter().find(|spec| spec.name == *name);
        spec.map_or_else(
            || (Class::default_class(), LogRules::default().drop_health),
            |spec| (Class(spec.log.class.clone()), spec.log.drop_health),
        )
    }
}

fn text(text: &str) -> Field<'_> {
    if text.is_empty() { Field::Absent } else { Field::Text(Cow::Borrowed(text)) }
}

fn sent(new: &NewLogEntry) -> Sent<'_> {
    fn given(field: &Option<String>) -> Field<'_> {
        field.as_deref().map_or(Field::Absent, text)
    }
    // As text with nine digits it is read exactly; a bare number would be taken for seconds if it is small.
    let stamp = new.at.and_then(|at| jiff::Timestamp::from_nanosecond(i128::from(at)).ok());
    Sent {
        level: text(&new.level),
        message: text(&new.message),
        timestamp: stamp.map_or(Field::Absent, |at| Field::Text(Cow::Owned(at.to_string()))),
        trace_id: given(&new.trace_id),
        user_id: given(&new.user_id),
        hostname: given(&new.hostname),
        process_id: new.process_id.map_or(Field::Absent, |id| Field::Text(Cow::Owned(id.to_string()))),
        context: text(&new.context),
        more: Vec::new(),
    }
}

fn status(error: &NotKept) -> Status {
    let words = error.to_string();
    match error {
        NotKept::Closed(_) => reason::store_away(&words),
        NotKept::Refused(AppendError::Later { after, .. } | AppendError::Keys { after, .. }) => {
            reason::later(&words, after.as_secs())
        }
        NotKept::Refused(AppendError::Unclear { .. }) => reason::unclear(&words),
        NotKept::Refused(AppendError::Closed) => reason::leaving(&words),
        NotKept::Refused(AppendError::Failed(_)) => Status::internal(words),
        NotKept::Refused(
            AppendError::TooLarge { .. }
            | AppendError::Class(_)
            | AppendError::Once
            | AppendError::Senders { .. }
            | AppendError::Below { .. },
        ) => reason::bad_request(&words),
    }
}
