//! Texts that stand for something: durations, sizes, words, paths.

use std::time::Duration;

/// `500ms`, `10s`, `2m`, `1h30m`, `1d`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text.bytes().next()?.is_ascii_digit() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return seconds(text);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_end =
            rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |n| digits + n);
        let milliseconds: u64 = match &rest[digits..unit_end] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(milliseconds)?))?;
        rest = &rest[unit_end..];
    }
    Some(total)
}

/// A number of seconds, which may have a fraction.
pub(super) fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// A duration in the shortest exact form of [`duration`].
pub(super) fn show_duration(d: Duration) -> String {
    let ms = d.as_millis();
    match ms {
        0 => "0s".into(),
        _ if ms.is_multiple_of(86_400_000) => format!("{}d", ms / 86_400_000),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// `65536`, `512M`, `1G`, `1GiB`: powers of 1024.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match &text[digits..] {
        "" | "B" => 0,
        "K" | "KB" | "KiB" => 10,
        "M" | "MB" | "MiB" => 20,
        "G" | "GB" | "GiB" => 30,
        "T" | "TB" | "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// A size in the shortest exact form of [`size`].
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

/// Words as a shell would see them: blanks part them, quotes and backslashes keep blanks. Nothing is expanded.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => loop {
                match chars.next()? {
                    '\'' => break word.get_or_insert_default().push_str(""),
                    c => word.get_or_insert_default().push(c),
                }
            },
            '"' => loop {
                match chars.next()? {
                    '"' => break word.get_or_insert_default().push_str(""),
                    '\\' => match chars.next()? {
                        c @ ('"' | '\\' | '$' | '`') => word.get_or_insert_default().push(c),
                        c => word.get_or_insert_default().extend(['\\', c]),
                    },
                    c => word.get_or_insert_default().push(c),
                }
            },
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

/// `path` seen from `base`, absolute, without `.` and `..`. Lexical: no link is followed.
pub(super) fn absolute(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let whole = if path.starts_with('/') { [path, ""] } else { [base, path] };
    for part in whole.iter().flat_map(|p| p.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Does a relative path stay inside the directory it starts from, and name something in it?
pub(super) fn stays_inside(path: &str) -> bool {
    if path.starts_with('/') {
        return false;
    }
    let mut depth = 0_i64;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    depth > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let ms = |n| Some(Duration::from_millis(n));
        for (text, want) in [
            ("10", ms(10_000)),
            ("0.5", ms(500)),
            ("500ms", ms(500)),
            ("2m", ms(120_000)),
            ("1h30m", ms(5_400_000)),
            ("1d", ms(86_400_000)),
            ("", None),
            ("s", None),
            ("5x", None),
            ("-1s", None),
            ("1.5h", None),
            ("1h30", None),
            (".", None),
            ("1..2", None),
            ("99999999999999999999d", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(duration(text), want, "{text:?}");
        }
        for text in ["0s", "500ms", "15s", "2m", "3h", "7d", "90s"] {
            let d = duration(text).unwrap();
            assert_eq!(duration(&show_duration(d)), Some(d));
        }
    }

    #[test]
    fn sizes() {
        for (text, want) in [
            ("0", Some(0)),
            ("65536", Some(65536)),
            ("512M", Some(512 << 20)),
            ("1G", Some(1 << 30)),
            ("2KiB", Some(2048)),
            ("1T", Some(1 << 40)),
            ("", None),
            ("M", None),
            ("1X", None),
            ("1 G", None),
            ("99999999999999T", None),
        ] {
            assert_eq!(size(text), want, "{text:?}");
        }
    }

    #[test]
    fn shell_words() {
        let some = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        for (text, want) in [
            ("bin/kc.sh start-dev", some(&["bin/kc.sh", "start-dev"])),
            ("  a   b ", some(&["a", "b"])),
            ("a 'b c' \"d e\"", some(&["a", "b c", "d e"])),
            ("--x='1 2'y", some(&["--x=1 2y"])),
            ("a '' b", some(&["a", "", "b"])),
            (r#"a\ b "c\"d" "e\n""#, some(&["a b", "c\"d", "e\\n"])),
            ("$HOME `x`", some(&["$HOME", "`x`"])),
            ("", some(&[])),
            ("'open", None),
            ("\"open", None),
            ("end\\", None),
        ] {
            assert_eq!(words(text), want, "{text:?}");
        }
    }

    #[test]
    fn paths() {
        assert_eq!(absolute("/home/helm", "../hivematrix-core"), "/home/hivematrix-core");
        assert_eq!(absolute("/home/helm", "/opt/kc/."), "/opt/kc");
        assert_eq!(absolute("/home/helm", "."), "/home/helm");
        assert_eq!(absolute("/a", "../../../b"), "/b");
        for inside in ["run.py", "a/b", "a/../b", "./x"] {
            assert!(stays_inside(inside), "{inside}");
        }
        for outside in ["../x", "a/../../x", "/x", "..", "", ".", "a/.."] {
            assert!(!stays_inside(outside), "{outside}");
        }
    }
}
