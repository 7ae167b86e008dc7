//! What a body can be, and why one cannot be read at all.

/// How a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `{"service_name": ..., "logs": [...]}`: `POST /api/logs/ingest`.
    HiveMatrix,
    /// A JSON object a line, or lines of text.
    Lines,
    /// OTLP/HTTP logs as protobuf.
    OtlpProtobuf,
    /// OTLP/HTTP logs as JSON.
    OtlpJson,
    /// Loki's push as snappy-compressed protobuf.
    LokiProtobuf,
    /// Loki's push as JSON.
    LokiJson,
    /// Elasticsearch's `_bulk`.
    Bulk,
}

/// By which door a body came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `/api/logs/ingest`
    HiveMatrix,
    /// Lines, whatever is in them.
    Lines,
    /// `/v1/logs`
    Otlp,
    /// `/loki/api/v1/push`
    Loki,
    /// `/es/_bulk`, `/es/INDEX/_bulk`
    Bulk,
}

impl Format {
    /// How a body is to be read by its door and its `Content-Type`. `None`: not at all (415).
    pub fn of(door: Door, content_type: Option<&str>) -> Option<Format> {
        let kind = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        let json = kind == "application/json" || kind.ends_with("+json");
        let lines = kind.is_empty()
            || kind.ends_with("ndjson")
            || kind.ends_with("jsonl")
            || kind.starts_with("text/");
        let protobuf = matches!(kind.as_str(), "application/x-protobuf" | "application/protobuf");
        match door {
            Door::HiveMatrix => json.then_some(Format::HiveMatrix),
            Door::Lines => (json || lines).then_some(Format::Lines),
            Door::Otlp if protobuf => Some(Format::OtlpProtobuf),
            Door::Otlp => json.then_some(Format::OtlpJson),
            Door::Loki if json => Some(Format::LokiJson),
            // Loki's own default.
            Door::Loki => (protobuf || kind.is_empty()).then_some(Format::LokiProtobuf),
            Door::Bulk => (json || lines).then_some(Format::Bulk),
        }
    }

    /// All of them.
    pub const ALL: [Format; 7] = [
        Format::HiveMatrix,
        Format::Lines,
        Format::OtlpProtobuf,
        Format::OtlpJson,
        Format::LokiProtobuf,
        Format::LokiJson,
        Format::Bulk,
    ];

    /// A word for people.
    pub fn word(self) -> &'static str {
        match self {
            Format::HiveMatrix => "HiveMatrix",
            Format::Lines => "lines",
            Format::OtlpProtobuf => "OTLP, protobuf",
            Format::OtlpJson => "OTLP, JSON",
            Format::LokiProtobuf => "Loki push, protobuf",
            Format::LokiJson => "Loki push, JSON",
            Format::Bulk => "Elasticsearch _bulk",
        }
    }
}

/// Why nothing of a body is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Contract 4.5, the seed's words.
    #[error("Missing logs array")]
    MissingLogs,
    /// Contract 4.5, the seed's words.
    #[error("service_name is required")]
    MissingService,
    /// Contract 4.5, the seed's words.
    #[error("Invalid service_name format")]
    BadService,
    /// Too many entries.
    #[error("{0} entries in one body, at most {1}: send it in pieces")]
    TooMany(usize, usize),
    /// Neither JSON nor nearly so.
    #[error("the body is no JSON: {0}")]
    NotJson(String),
    /// JSON of another shape.
    #[error("the body is not {0}")]
    Shape(&'static str),
    /// Not protobuf.
    #[error("the body is no protobuf message of this kind: {0}")]
    NotProtobuf(&'static str),
    /// The compressed bytes are damaged, or end too early.
    #[error("the body cannot be unpacked as {0}: {1}")]
    Damaged(&'static str, String),
    /// More than a body may have once it is unpacked.
    #[error("the body has more than {} MiB once it is unpacked: send it in pieces", .0 >> 20)]
    TooLarge(usize),
    /// Packed so densely that it can only be meant to harm.
    #[error("the body unpacks to more than {0} times its size: refused")]
    Ratio(usize),
    /// A content encoding that is not known.
    #[error("the content encoding `{0}` is not known: send identity, gzip or zstd")]
    Encoding(String),
}

impl BodyError {
    /// The status of an answer that says so.
    pub fn status(&self) -> u16 {
        match self {
            BodyError::MissingLogs
            | BodyError::MissingService
            | BodyError::BadService
            | BodyError::TooMany(..)
            | BodyError::NotJson(_)
            | BodyError::Shape(_)
            | BodyError::NotProtobuf(_)
            | BodyError::Damaged(..) => 400,
            BodyError::TooLarge(_) | BodyError::Ratio(_) => 413,
            BodyError::Encoding(_) => 415,
        }
    }

    /// The body has the format, and its content is at fault: HiveMatrix's clients get `{"error": ...}`, as contract 4.5 has it,
    /// and problem+json for anything else.
    pub fn plain(&self) -> bool {
        matches!(
            self,
            BodyError::MissingLogs
                | BodyError::MissingService
                | BodyError::BadService
                | BodyError::TooMany(..)
        )
    }
}
