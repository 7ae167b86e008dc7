//! What shippers ask an Elasticsearch before they send: just so much of it that Fluent Bit, Vector, Logstash, Beats and the official
//! clients go on to `_bulk`. Nothing here is kept.

/// An answer to a probe. All answers under `/es/` carry the header `X-Elastic-Product: Elasticsearch`: the official clients stop without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// 200, or 404 for what is not there.
    pub status: u16,
    /// JSON; not sent for `HEAD`.
    pub body: &'static str,
}

/// The version that is claimed: the newest whose `_bulk` all these shippers speak.
const INFO: &str = concat!(
    r#"{"name":"helm","cluster_name":"helm","cluster_uuid":"helm-ingest-0000000000","version":{"number":"8.15.0","#,
    r#""build_flavor":"default","build_type":"tar","build_hash":"helm","build_date":"2024-08-05T00:00:00.000Z","#,
    r#""build_snapshot":false,"lucene_version":"9.11.1","minimum_wire_compatibility_version":"7.17.0","#,
    r#""minimum_index_compatibility_version":"7.0.0"},"tagline":"You Know, for Search"}"#
);

const LICENSE: &str = concat!(
    r#"{"license":{"status":"active","uid":"helm","type":"basic","mode":"basic","issue_date":"2024-01-01T00:00:00.000Z","#,
    r#""issue_date_in_millis":1704067200000,"max_nodes":1,"issued_to":"helm","issuer":"helm","start_date_in_millis":-1}}"#
);

/// Licence and features as `_xpack` names them: Beats look for `ilm`.
const XPACK: &str = concat!(
    r#"{"license":{"uid":"helm","type":"basic","mode":"basic","status":"active"},"#,
    r#""features":{"ilm":{"available":false,"enabled":false},"security":{"available":false,"enabled":false}}}"#
);

const HEALTH: &str = concat!(
    r#"{"cluster_name":"helm","status":"green","timed_out":false,"number_of_nodes":1,"number_of_data_nodes":1,"#,
    r#""active_primary_shards":0,"active_shards":0,"relocating_shards":0,"initializing_shards":0,"unassigned_shards":0}"#
);

/// Templates, policies, pipelines, streams and aliases: they are said to be there, so that nobody has to make them.
const SETUP: [&str; 8] = [
    "_template",
    "_index_template",
    "_component_template",
    "_ilm",
    "_ingest",
    "_data_stream",
    "_alias",
    "_aliases",
];

/// The answer to a request below `/es`; `path` is what follows (`/`, `/_license`, `/_index_template/filebeat`). `None`: it is no probe.
pub fn probe(method: &str, path: &str) -> Option<Probe> {
    let reads = matches!(method, "GET" | "HEAD");
    let ok = |body| Some(Probe { status: 200, body });
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (first, second) = (parts.next(), parts.next());
    match (first, second) {
        (None, _) if reads => ok(INFO),
        (Some("_license"), None) if reads => ok(LICENSE),
        (Some("_xpack"), None) if reads => ok(XPACK),
        (Some("_cluster"), Some("health")) if reads => ok(HEALTH),
        (Some("_nodes"), _) if reads => {
            ok(r#"{"_nodes":{"total":0,"successful":0,"failed":0},"cluster_name":"helm","nodes":{}}"#)
        }
        (Some(kind), _) | (Some(_), Some(kind)) if SETUP.contains(&kind) => match method {
            "GET" | "HEAD" => ok("{}"),
            "PUT" | "POST" => ok(r#"{"acknowledged":true}"#),
            _ => None,
        },
        // An index of any name is there once it is written to.
        (Some(name), None) if !name.starts_with('_') => match method {
            "GET" | "HEAD" => ok("{}"),
            "PUT" => ok(r#"{"acknowledged":true,"shards_acknowledged":true}"#),
            _ => None,
        },
        _ => None,
    }
}
