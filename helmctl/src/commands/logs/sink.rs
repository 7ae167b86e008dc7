//! Where an export goes. A file is written beside the one that is meant, which changes only once everything is there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::cli::{Compress, Form};

/// Bytes that are written at once.
const PIECE: usize = 64 << 10;
/// What was logged is for whoever may read it now.
const MODE: u32 = 0o600;
/// Zstandard's own usual level.
const ZSTD_LEVEL: i32 = 3;

type Out = BufWriter<Box<dyn Write>>;

/// Form and compression that the name of a file asks for.
pub(super) fn by_name(path: &Path) -> (Option<Form>, Option<Compress>) {
    let end = |path: &Path| path.extension().map(|end| end.to_string_lossy().to_lowercase());
    let compress = match end(path).as_deref() {
        Some("gz") => Some(Compress::Gzip),
        Some("zst" | "zstd") => Some(Compress::Zstd),
        _ => None,
    };
    let stem = if compress.is_some() { path.with_extension("") } else { path.to_owned() };
    let form = match end(&stem).as_deref() {
        Some("csv") => Some(Form::Csv),
        Some("txt" | "text" | "log") => Some(Form::Text),
        Some("ndjson" | "jsonl" | "json") => Some(Form::Ndjson),
        _ => None,
    };
    (form, compress)
}

/// Takes bytes to a file or to standard output.
pub(super) struct Sink {
    encoder: Encoder,
    beside: Option<Beside>,
}

enum Encoder {
    Plain(Out),
    Gzip(GzEncoder<Out>),
    Zstd(ZstdEncoder<'static, Out>),
}

impl Sink {
    /// To `output`, or to standard output.
    pub(super) fn open(output: Option<&Path>, compress: Compress) -> io::Result<Self> {
        let (to, beside): (Box<dyn Write>, _) = match output {
            None => (Box::new(io::stdout()), None),
            Some(path) => match Target::of(path)? {
                Target::Device(file) => (Box::new(file), None),
                Target::File(beside) => (Box::new(beside.file.try_clone()?), Some(beside)),
            },
        };
        let to = BufWriter::with_capacity(PIECE, to);
        let encoder = match compress {
            Compress::None => Encoder::Plain(to),
            Compress::Gzip => Encoder::Gzip(GzEncoder::new(to, Compression::default())),
            Compress::Zstd => {
                let mut encoder = ZstdEncoder::new(to, ZSTD_LEVEL)?;
                // As gzip does: whoever unpacks it learns of a damaged byte.
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
        };
        Ok(Self { encoder, beside })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.encoder {
            Encoder::Plain(to) => to.write_all(bytes),
            Encoder::Gzip(to) => to.write_all(bytes),
            Encoder::Zstd(to) => to.write_all(bytes),
        }
    }

    /// Everything is there: the file takes its name. A sink that is dropped before leaves nothing.
    pub(super) fn finish(self) -> io::Result<()> {
        match self.encoder {
            Encoder::Plain(mut to) => to.flush()?,
            Encoder::Gzip(to) => to.finish()?.flush()?,
            Encoder::Zstd(to) => to.finish()?.flush()?,
        }
        self.beside.map_or(Ok(()), Beside::take_its_place)
    }
}

enum Target {
    /// A pipe or a device: written as it is.
    Device(File),
    File(Beside),
}

impl Target {
    fn of(path: &Path) -> io::Result<Self> {
        let there = match fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => {
                return Ok(Self::Device(OpenOptions::new().write(true).open(path)?));
            }
            Ok(there) => Some(there),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        // A symbolic link stays one.
        let place = if there.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
        let beside = Beside::make(place)?;
        if let Some(there) = there {
            // Another owner is kept where we may do that; the mode is ours to set.
            let _ = fchown(&beside.file, Some(there.uid()), Some(there.gid()));
            beside.file.set_permissions(Permissions::from_mode(there.mode() & 0o777))?;
        }
        Ok(Self::File(beside))
    }
}

/// A file under a name of its own, beside the one that it is to be; goes away when dropped.
struct Beside {
    place: PathBuf,
    name: PathBuf,
    file: File,
}

impl Beside {
    fn make(place: PathBuf) -> io::Result<Self> {
        let Some(last) = place.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let name = place.with_file_name(format!(".{}.{}.part", last.to_string_lossy(), std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&name)?;
        Ok(Self { place, name, file })
    }

    fn take_its_place(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.name, &self.place)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Has it got its place, there is nothing of this name any more.
        let _ = fs::remove_file(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_form_and_compression() {
        let cases = [
            ("a.csv", Some(Form::Csv), None),
            ("a.CSV.GZ", Some(Form::Csv), Some(Compress::Gzip)),
            ("a.txt.zst", Some(Form::Text), Some(Compress::Zstd)),
            ("a.json", Some(Form::Ndjson), None),
            ("a.gz", None, Some(Compress::Gzip)),
            ("csv", None, None),
        ];
        for (name, form, compress) in cases {
            assert_eq!(by_name(Path::new(name)), (form, compress), "{name}");
        }
    }
}
