//! `retention show|set|dry-run`

use helm_client::{Client, Home, Store};
use helm_shapes::store;

use crate::db_cli::RetentionVerb;
use crate::failure::Failure;
use crate::render::{Printer, db};

pub(super) async fn run(home: &Home, verb: RetentionVerb, printer: &mut Printer) -> Result<(), Failure> {
    let mut store = Store::of(&Client::of(home).await?).await?;
    let (kept, dry_run) = match verb {
        RetentionVerb::Show => (store.retention(false, Vec::new()).await?, false),
        RetentionVerb::Set { rule, .. } if rule.is_empty() => {
            return Err(Failure::Usage("say the rule, too: 90d, 20G, \"90d 20G\" or forever".into()));
        }
        RetentionVerb::Set { class, rule } => (store.set_retention(class, rule.join(" ")).await?, false),
        RetentionVerb::DryRun { rules } => (store.retention(true, tried(rules)).await?, true),
    };
    if printer.wants_json() {
        return printer.value(&store::Retention::from(kept), true);
    }
    printer.block(&db::retention(&kept, dry_run))
}

/// `default 30d 20G`, as `set` takes it, or `default="30d 20G" audit=forever`.
fn tried(words: Vec<String>) -> Vec<String> {
    match words.split_first() {
        Some((class, rule)) if !rule.is_empty() && words.iter().all(|word| !word.contains('=')) => {
            vec![format!("{class}={}", rule.join(" "))]
        }
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_dry_run_takes_the_words_of_set() {
        let tried = |words: &[&str]| super::tried(words.iter().map(|&word| word.to_owned()).collect());
        assert_eq!(tried(&["default", "30d", "20G"]), ["default=30d 20G"]);
        assert_eq!(tried(&["default=30d 20G", "audit=forever"]), ["default=30d 20G", "audit=forever"]);
        assert_eq!(tried(&["default"]), ["default"]);
        assert!(tried(&[]).is_empty());
    }
}
