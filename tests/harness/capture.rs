//! Reads log files back as any other program would: the CRI format, from the files alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// One line as the service wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// RFC 3339 with nanoseconds.
    pub at: String,
    /// `stdout` or `stderr`
    pub stream: String,
    /// Without its end.
    pub text: Vec<u8>,
}

impl Line {
    /// The text for messages.
    pub fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// All lines of a service, from `logs/<service>/`, parts joined. A line that is not CRI is an error, a torn one as well.
pub fn read(dir: &Path) -> io::Result<Vec<Line>> {
    lines(dir, false)
}

/// The lines that are there while more are being written: the last one may be torn.
pub fn read_so_far(dir: &Path) -> io::Result<Vec<Line>> {
    // A file that is compressed between the listing and the opening is gone under its name: listed again.
    for _ in 0..100 {
        match lines(dir, true) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && dir.exists() => {}
            read => return read,
        }
    }
    lines(dir, true)
}

fn lines(dir: &Path, torn: bool) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut open: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for content in segments(dir)?.into_values() {
        let mut rest = content.as_slice();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            let mut words = line.splitn(4, |b| *b == b' ');
            let (Some(at), Some(stream), Some(tag), Some(text)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(not_cri(dir, line));
            };
            let stream = String::from_utf8_lossy(stream).into_owned();
            let well = at.len() >= 20 && at.ends_with(b"Z") && matches!(stream.as_str(), "stdout" | "stderr");
            match tag {
                b"P" if well => open.entry(stream).or_default().extend_from_slice(text),
                b"F" if well => {
                    let mut whole = open.remove(&stream).unwrap_or_default();
                    whole.extend_from_slice(text);
                    lines.push(Line { at: String::from_utf8_lossy(at).into_owned(), stream, text: whole });
                }
                _ => return Err(not_cri(dir, line)),
            }
        }
        if !rest.is_empty() && !torn {
            return Err(not_cri(dir, rest));
        }
    }
    Ok(lines)
}

/// The content of each segment by its number.
pub fn segments(dir: &Path) -> io::Result<BTreeMap<u64, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some((number, kind)) = name.split_once('.') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        let mut content = Vec::new();
        let mut file = File::open(dir.join(&name))?;
        match kind {
            "log" => file.read_to_end(&mut content)?,
            // Beside its plain original it is a copy.
            "log.gz" if !dir.join(name.trim_end_matches(".gz")).exists() => {
                flate2::read::MultiGzDecoder::new(file).read_to_end(&mut content)?
            }
            _ => continue,
        };
        found.insert(number, content);
    }
    Ok(found)
}

fn not_cri(dir: &Path, line: &[u8]) -> io::Error {
    let line = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
    io::Error::other(format!("{}: not a line of the CRI format: {line:?}", dir.display()))
}
