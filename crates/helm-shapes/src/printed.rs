//! Lines of messages as they are shown: what a terminal would obey is not passed on.

/// What of a message is printed as it was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Messages {
    /// Colours; every other control character is shown, not obeyed.
    #[default]
    Coloured,
    /// No colours either.
    Plain,
    /// Everything.
    Raw,
}

/// A line of a message.
#[must_use]
pub fn printed(line: &str, messages: Messages) -> String {
    let line = line.trim_end_matches('\r');
    match messages {
        Messages::Coloured => shown(line, true),
        Messages::Plain => shown(line, false),
        Messages::Raw => line.to_owned(),
    }
}

/// Colours stay, or go; every other control character is shown, not obeyed.
fn shown(line: &str, colours: bool) -> String {
    let mut text = String::with_capacity(line.len());
    let mut coloured = false;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let (colour, behind) = rest.split_at(colour(rest));
        if colour.is_empty() {
            text.push(if c.is_control() && c != '\t' { '\u{fffd}' } else { c });
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        }
        rest = behind;
        if colours {
            coloured = true;
            text.push_str(colour);
        }
    }
    if coloured {
        text.push_str("\x1b[0m");
    }
    text
}

/// Length of the colour sequence that `text` begins with.
fn colour(text: &str) -> usize {
    let Some(codes) = text.strip_prefix("\x1b[") else { return 0 };
    match codes.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':') {
        Some(end) if codes[end..].starts_with('m') => 2 + end + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_nothing_else_is_obeyed() {
        let coloured = |line: &str| printed(line, Messages::Coloured);
        assert_eq!(coloured("\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m\x1b[0m");
        assert_eq!(coloured("a\x1b[2Jb\x07\u{9b}1mc\td"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}1mc\td");
        assert_eq!(coloured("\x1b[31"), "\u{fffd}[31");
        assert_eq!(printed("\x1b[31mred\x1b[0m\x1b]0;t\x07\r", Messages::Plain), "red\u{fffd}]0;t\u{fffd}");
        assert_eq!(printed("\x1b[2Jx", Messages::Raw), "\x1b[2Jx");
    }
}
