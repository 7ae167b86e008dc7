//! `retention show|set|dry-run`

use helm_client::{Client, Home, Store};

use crate::db_cli::RetentionVerb;
use crate::failure::Failure;
use crate::render::{Printer, db, json_db};

pub(super) async fn run(home: &Home, verb: RetentionVerb, printer: &mut Printer) -> Result<(), Failure> {
    let mut store = Store::of(&Client::of(home).await?).await?;
    let (kept, dry_run) = match verb {
        RetentionVerb::Show => (store.retention(false, Vec::new()).await?, false),
        RetentionVerb::Set { rule, .. } if rule.is_empty() => {
            return Err(Failure::Usage("say the rule, too: 90d, 20G, \"90d 20G\" or forever".into()));
        }
        RetentionVerb::Set { class, rule } => (store.set_retention(class, rule.join(" ")).await?, false),
        RetentionVerb::DryRun { rules } => (store.retention(true, rules).await?, true),
    };
    if printer.wants_json() {
        return printer.value(&json_db::Retention::from(kept), true);
    }
    printer.block(&db::retention(&kept, dry_run))
}
