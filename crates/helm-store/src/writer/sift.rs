//! What is done about a transaction that the database refuses though it answers: is it the database, or is it an entry?
//!
//! First a harmless entry is tried: where that is refused as well, the database takes nothing, and the transaction waits. Else the entries are
//! halved until those are found that it does not take, each by itself. In their places come records of them, so that ids, counts and chain stay without a hole
//! and nothing vanishes unseen. Trying leaves nothing behind ([`LogEngine::try_out`]).

use std::collections::{BTreeMap, HashSet};

use crate::chain::Chain;
use crate::commit::Commit;
use crate::engine::{EngineError, LogEngine};
use crate::entry::{Entry, HELM, Level, NewEntry, Source};
use crate::id::EntryId;
use crate::partition::{Class, Contents};
use crate::writer::ledger::{Ledger, count};
use crate::writer::{AppendError, Receipt, Refusal};

/// Of what was refused, so many characters are put on record.
const SHOWN: usize = 4096;

/// What became of the looking.
#[derive(Debug)]
pub(super) enum Sifted {
    /// The database takes nothing at all.
    Nothing,
    /// It takes each entry now: which ones would be the fault is not known.
    Unknown,
    /// It does not take these, for these reasons.
    Poison(BTreeMap<EntryId, String>),
}

/// Looks for the entries of `commit` that the database does not take. An error that is about no entry breaks it off.
pub(super) async fn sift(
    engine: &dyn LogEngine,
    commit: &Commit,
    refused: &EngineError,
) -> Result<Sifted, EngineError> {
    let harmless = commit.entries.first().map(|first| record(first, &refused.to_string()));
    let harmless = commit.entries.first().zip(harmless).map(|(first, body)| Entry { body, ..first.clone() });
    if attempt(engine, commit, harmless.as_slice()).await?.is_some() {
        return Ok(Sifted::Nothing);
    }
    let mut poison = BTreeMap::new();
    // The last range is looked at first: so they are found in their order.
    let mut ranges = vec![commit.entries.as_slice()];
    while let Some(range) = ranges.pop() {
        match (attempt(engine, commit, range).await?, range) {
            (None, _) | (Some(_), []) => {}
            (Some(_), [one]) => {
                // A database that has begun to refuse everything meanwhile (a fail-over) must not make all entries look bad.
                if attempt(engine, commit, harmless.as_slice()).await?.is_some() {
                    return Ok(Sifted::Nothing);
                }
                if let Some(why) = attempt(engine, commit, range).await? {
                    poison.insert(one.id, why);
                }
            }
            (Some(_), several) => {
                let (left, right) = several.split_at(several.len() / 2);
                ranges.extend([right, left]);
            }
        }
    }
    Ok(if poison.is_empty() { Sifted::Unknown } else { Sifted::Poison(poison) })
}

/// Why the database would not take these entries in place of all; `None`: it would.
async fn attempt(
    engine: &dyn LogEngine,
    commit: &Commit,
    entries: &[Entry],
) -> Result<Option<String>, EngineError> {
    let part = Commit { entries: entries.to_vec(), counts: count(entries), ..commit.clone_without_entries() };
    match engine.try_out(&part).await {
        Ok(()) => Ok(None),
        Err(error) if may_be_the_entry(&error) => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

/// Whether an error can be about what an entry holds. A file that turned bad refuses the entries that would come to lie there, whatever they are.
fn may_be_the_entry(error: &EngineError) -> bool {
    match error {
        EngineError::Denied(_) | EngineError::Other { .. } => true,
        EngineError::Away(_)
        | EngineError::Full(_)
        | EngineError::NotNext { .. }
        | EngineError::Newer { .. }
        | EngineError::Damaged(_)
        | EngineError::Stale(_) => false,
    }
}

/// The same transaction, with records in place of what the database does not take.
pub(super) fn replace(ledger: &Ledger, commit: Commit, poison: &BTreeMap<EntryId, String>) -> Commit {
    let (head, mut contents) = ledger.end(&commit.class).unwrap_or((commit.head, Contents::empty()));
    let mut chain = Chain::from(head);
    let mut rest = commit.clone_without_entries();
    let replaced = commit.entries.into_iter().map(|entry| {
        let body = match poison.get(&entry.id) {
            Some(why) => record(&entry, why),
            None => entry.body,
        };
        contents.add(&body);
        Entry { id: entry.id, digest: chain.push(entry.id, &body).short(), body }
    });
    rest.entries = replaced.collect();
    rest.counts = count(&rest.entries);
    rest.head = chain.head();
    rest.contents = contents;
    rest
}

/// Tells who appended what the database does not take.
pub(super) fn tell(answers: &mut [Result<Receipt, AppendError>], poison: &BTreeMap<EntryId, String>) {
    for receipt in answers.iter_mut().flatten() {
        let Some((first, last)) = receipt.ids else { continue };
        let gone: HashSet<usize> = receipt.refused.iter().map(|refusal| refusal.index).collect();
        for (id, why) in poison.range(first..=last) {
            // Entries that were refused before have no id.
            let mut kept = (0..).filter(|index| !gone.contains(index));
            let index = usize::try_from(id.0 - first.0).ok().and_then(|nth| kept.nth(nth));
            receipt.refused.extend(index.map(|index| Refusal { index, reason: why.clone() }));
        }
        receipt.refused.sort_by_key(|refusal| refusal.index);
    }
}

/// What stands in the log for an entry that the database does not take: in ASCII, whatever was in it.
fn record(entry: &Entry, why: &str) -> NewEntry {
    let body = &entry.body;
    let plain = |text: &str| -> String { text.escape_default().take(SHOWN).collect() };
    let (service, message) = (plain(&body.service), plain(&body.message));
    let context = serde_json::json!({"refused": {
        "service": service, "at": body.at, "source": body.source.word(), "level": body.level.word(), "bytes": body.weight(),
    }});
    NewEntry {
        service: HELM.to_owned(),
        at: body.seen,
        seen: body.seen,
        level: Level::Error,
        source: Source::Helm,
        stream: 0,
        flags: 0,
        message: format!(
            "the database does not take an entry of {service} ({}); this stands for it. It was: {message}",
            plain(why)
        ),
        plain: None,
        context: Some(context.to_string()),
        trace: None,
        user: None,
        hostname: None,
        process: None,
    }
}

/// For the log of helmd.
pub(super) fn in_words(class: &Class, poison: &BTreeMap<EntryId, String>) -> String {
    let first =
        poison.first_key_value().map_or_else(String::new, |(id, why)| format!("entry {}: {why}", id.0));
    format!(
        "the database does not take {} of what came for class {}; a record of each is in its place ({first})",
        poison.len(),
        class.0
    )
}
