//! Settings of a server that differ from what docs/postgresql.md advises for a small host.

use super::{PgEngine, Shared};
use crate::engine::EngineError;

/// How a setting is to be, in the unit that `pg_settings` has it in.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Is(&'static str),
    AtLeast(i64),
    AtMost(i64),
}

/// Name, wish, how it is written in postgresql.conf, and why.
type Advice = (&'static str, Wish, &'static str, &'static str);

const ADVICE: [Advice; 9] = [
    ("fsync", Wish::Is("on"), "on", "without it a power cut may take the database"),
    ("full_page_writes", Wish::Is("on"), "on", "without it a power cut may damage pages"),
    ("synchronous_commit", Wish::Is("on"), "on", "without it entries that were acknowledged may be lost"),
    ("autovacuum", Wish::Is("on"), "on", "without it counts and cursors grow without end"),
    // In pages of 8 KiB.
    ("shared_buffers", Wish::AtLeast(16_384), "128MB", "appends touch the same index pages again and again"),
    // In MiB.
    ("max_wal_size", Wish::AtLeast(1024), "2GB", "checkpoints that come too often halve the appends"),
    // In seconds.
    ("checkpoint_timeout", Wish::AtLeast(600), "15min", "each checkpoint writes whole pages anew"),
    ("random_page_cost", Wish::AtMost(2), "1.1", "on an SSD the planner passes over good indexes otherwise"),
    ("max_connections", Wish::AtLeast(20), "100", "a helmd uses up to 9 connections"),
];

impl PgEngine {
    /// A sentence for each setting that differs from the advice.
    pub async fn advice(&self) -> Result<Vec<String>, EngineError> {
        let names: Vec<&str> = ADVICE.iter().map(|(name, ..)| *name).collect();
        let shared: &Shared = &self.shared;
        let settings: Vec<(String, String)> =
            sqlx::query_as("SELECT name, setting FROM pg_settings WHERE name = ANY($1)")
                .bind(names)
                .fetch_all(&shared.readers)
                .await
                .map_err(|e| shared.fault("reading the settings", e))?;
        let mut advice = differ(&settings);
        if shared.options.trigrams() && !self.has_trigrams().await? {
            advice.push(format!(
                "trigrams = yes in instance/helm.conf needs an extension: an administrator runs CREATE EXTENSION pg_trgm in database {}",
                shared.options.database()
            ));
        }
        Ok(advice)
    }

    async fn has_trigrams(&self) -> Result<bool, EngineError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm')")
            .fetch_one(&self.shared.readers)
            .await
            .map_err(|e| self.shared.fault("looking for pg_trgm", e))
    }
}

fn differ(settings: &[(String, String)]) -> Vec<String> {
    let of = |wanted: &str| settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let bad = |(name, wish, better, why): &Advice| {
        let value = of(name)?;
        let number = value.parse::<f64>();
        let good = match (wish, number) {
            (Wish::Is(word), _) => value == *word,
            (Wish::AtLeast(least), Ok(number)) => number >= *least as f64,
            (Wish::AtMost(most), Ok(number)) => number <= *most as f64,
            // Not a number: nothing can be said.
            (Wish::AtLeast(_) | Wish::AtMost(_), Err(_)) => true,
        };
        (!good).then(|| format!("set {name} = {better} in postgresql.conf: {why} (docs/postgresql.md)"))
    };
    ADVICE.iter().filter_map(bad).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named() {
        let settings = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
        };
        let good = settings(&[("fsync", "on"), ("shared_buffers", "16384"), ("random_page_cost", "1.1")]);
        assert_eq!(differ(&good), Vec::<String>::new());
        let bad =
            differ(&settings(&[("fsync", "off"), ("shared_buffers", "4096"), ("random_page_cost", "4")]));
        assert_eq!(bad.len(), 3, "{bad:?}");
        assert!(bad[0].starts_with("set fsync = on") && bad[2].contains("random_page_cost = 1.1"), "{bad:?}");
    }
}
