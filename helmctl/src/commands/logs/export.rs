//! `logs export`: entries as they come, straight into the file.

use std::io;
use std::path::Path;

use helm_client::{Client, Home, Logs};
use helm_proto::v1::{LogEntry, LogFilter, SearchLogsRequest};

use super::sink::{self, Sink};
use super::{filter, show};
use crate::cli::{Compress, ExportArgs, Form};
use crate::commands::follow::Ending;
use crate::failure::Failure;
use helm_shapes::csv::{self, Formulas};
use helm_shapes::printed::Messages;

use crate::render::log::{self, Columns};
use crate::render::note;

pub(super) async fn run(home: &Home, args: ExportArgs, json: bool) -> Result<(), Failure> {
    let output = args.output.filter(|path| path != Path::new("-"));
    let place = output.as_deref().map_or_else(|| "standard output".into(), |path| path.display().to_string());
    let (form, compress) = output.as_deref().map(sink::by_name).unwrap_or_default();
    let form = args.format.or(json.then_some(Form::Ndjson)).or(form).unwrap_or(Form::Ndjson);
    let compress = args.compress.or(compress).unwrap_or(Compress::None);
    let filter = filter(args.what)?;
    // Without a file there is nothing to take away: there signals do what they always do.
    let mut ending = output.is_some().then(Ending::watch).transpose()?;
    let mut writer = Writer {
        sink: Sink::open(output.as_deref(), compress).map_err(|e| failed(&place, &e))?,
        columns: Columns::whole(if args.raw { Messages::Raw } else { Messages::Plain }),
        form,
        count: 0,
        place: place.clone(),
    };
    let work = all(home, filter, &mut writer);
    match &mut ending {
        None => work.await?,
        Some(ending) => tokio::select! {
            done = work => done?,
            () = ending.told() => {
                return Err(Failure::Failed(format!("interrupted: {place} is as it was")));
            }
        },
    }
    let count = writer.count;
    writer.sink.finish().map_err(|e| failed(&place, &e))?;
    if output.is_some() {
        note(&format!("{count} entries written to {place}"));
    }
    Ok(())
}

async fn all(home: &Home, filter: LogFilter, writer: &mut Writer) -> Result<(), Failure> {
    let logs = Logs::of(&Client::of(home).await?).await?;
    writer.head()?;
    let request = SearchLogsRequest { filter: Some(filter), oldest_first: true, ..Default::default() };
    show::each(&logs, request, |message| message.entries.iter().try_for_each(|entry| writer.entry(entry)))
        .await
        .map(drop)
}

fn failed(place: &str, why: &io::Error) -> Failure {
    if why.kind() == io::ErrorKind::BrokenPipe {
        return Failure::Closed;
    }
    Failure::Failed(format!("{place} cannot be written: {why}; the export is not whole"))
}

struct Writer {
    sink: Sink,
    columns: Columns,
    form: Form,
    count: u64,
    place: String,
}

impl Writer {
    fn head(&mut self) -> Result<(), Failure> {
        if self.form == Form::Csv { self.write(csv::CSV_HEAD) } else { Ok(()) }
    }

    fn entry(&mut self, entry: &LogEntry) -> Result<(), Failure> {
        let text = match self.form {
            Form::Ndjson => log::json_line(entry)?,
            Form::Csv => csv::csv(entry, self.columns.messages(), Formulas::Kept),
            Form::Text => self.columns.dated(entry) + "\n",
        };
        self.count += 1;
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.sink.write(text.as_bytes()).map_err(|e| failed(&self.place, &e))
    }
}
