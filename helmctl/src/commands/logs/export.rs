//! `logs export`: entries as they come, straight into the file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use helm_client::{Client, Home, Logs};
use helm_proto::v1::{LogEntry, SearchLogsRequest};

use super::{filter, show};
use crate::cli::{Compress, ExportArgs, Form};
use crate::failure::Failure;
use crate::render::log::{self, Columns, Json};
use crate::render::note;

/// Where it goes.
enum Sink {
    Plain(BufWriter<Box<dyn Write>>),
    Gzip(GzEncoder<BufWriter<Box<dyn Write>>>),
}

impl Sink {
    fn open(output: Option<&Path>, compress: Option<Compress>) -> io::Result<Self> {
        let by_name = output.and_then(Path::extension).is_some_and(|end| end == "gz");
        let to: Box<dyn Write> = match output {
            Some(path) => Box::new(File::create(path)?),
            None => Box::new(io::stdout()),
        };
        let to = BufWriter::with_capacity(64 << 10, to);
        Ok(match compress {
            Some(Compress::Gzip) => Self::Gzip(GzEncoder::new(to, Compression::default())),
            None if by_name => Self::Gzip(GzEncoder::new(to, Compression::default())),
            Some(Compress::None) | None => Self::Plain(to),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.write_all(bytes),
            Self::Gzip(to) => to.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut to) => to.flush(),
            Self::Gzip(to) => to.finish()?.flush(),
        }
    }
}

pub(super) async fn run(home: &Home, args: ExportArgs) -> Result<(), Failure> {
    let logs = Logs::of(&Client::of(home).await?).await?;
    let place =
        args.output.as_deref().map_or_else(|| "standard output".into(), |path| path.display().to_string());
    let failed = |e: io::Error| {
        if e.kind() == io::ErrorKind::BrokenPipe {
            return Failure::Closed;
        }
        Failure::Failed(format!("{place} cannot be written: {e}; the export is not whole"))
    };
    let mut sink = Sink::open(args.output.as_deref(), args.compress).map_err(failed)?;
    let mut columns = Columns::default();
    if args.format == Form::Csv {
        sink.write(log::CSV_HEAD.as_bytes()).map_err(failed)?;
    }
    let request =
        SearchLogsRequest { filter: Some(filter(args.what)), oldest_first: true, ..Default::default() };
    let mut count = 0_u64;
    show::each(&logs, request, |entries| {
        for entry in &entries {
            sink.write(written(entry, args.format, &mut columns)?.as_bytes()).map_err(failed)?;
            count += 1;
        }
        Ok(())
    })
    .await?;
    sink.finish().map_err(failed)?;
    if args.output.is_some() {
        note(&format!("{count} entries written to {place}"));
    }
    Ok(())
}

fn written(entry: &LogEntry, form: Form, columns: &mut Columns) -> Result<String, Failure> {
    match form {
        Form::Ndjson => {
            let json = serde_json::to_string(&Json::from(entry));
            json.map(|json| json + "\n").map_err(|e| Failure::Failed(e.to_string()))
        }
        Form::Csv => Ok(log::csv(entry)),
        Form::Text => Ok(anstream::adapter::strip_str(&columns.entry(entry, true)).to_string() + "\n"),
    }
}
