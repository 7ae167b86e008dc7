//! What must hold for every body, whatever is in it.

use helm_core::time::Wall;
use helm_ingest::{Asked, Format, decode, explain};

/// Reads a body, and holds that each entry has one verdict and that what is passed on keeps its bounds.
pub fn hold(format: Format, body: &[u8]) {
    let asked = Asked { service: Some("fuzz"), index: None, arrived: Wall(1_795_424_700_000_000_000) };
    let Ok(decoded) = decode(format, &asked, body) else { return };
    let mut verdicts: Vec<u32> = decoded.records.iter().map(|record| record.index).collect();
    verdicts.extend(decoded.rejected.iter().map(|rejected| rejected.index));
    verdicts.sort_unstable();
    verdicts.dedup();
    assert_eq!(verdicts.len(), decoded.total as usize, "each entry has one verdict");
    for record in &decoded.records {
        assert!(record.context_json.len() <= 64 << 10 && record.message.len() <= 256 << 10);
        assert!(!record.message.is_empty() || !record.context_json.is_empty());
        let context = &record.context_json;
        assert!(context.is_empty() || serde_json::from_str::<serde_json::Value>(context).is_ok(), "{context}");
    }
    let told = explain(format, &asked, body).expect("what can be read can be told");
    serde_json::from_str::<serde_json::Value>(&told).expect("it is told as JSON");
}
