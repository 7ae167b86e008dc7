//! A block of lines on a terminal, drawn again over itself.

use std::io::{self, IsTerminal};

use anstream::ColorChoice;

/// The block as it stands on the terminal.
#[derive(Debug, Default)]
pub(crate) struct Block {
    drawn: usize,
}

impl Block {
    /// What to write, in one piece, so that nothing flickers: back to the first line, then each line anew. A line too wide
    /// is cut by the terminal and a block too high by us: what wraps or scrolls away cannot be gone back over.
    ///
    /// It must reach the terminal as it is: a filter of colours would take the movements with them.
    pub(crate) fn frame(&mut self, lines: &[String], height: usize, colours: ColorChoice) -> String {
        let room = height.saturating_sub(1).max(2);
        let hidden = if lines.len() > room { lines.len() - (room - 1) } else { 0 };
        let mut shown: Vec<String> = lines.iter().take(lines.len() - hidden).cloned().collect();
        if hidden > 0 {
            shown.push(format!("{hidden} more lines: the window is too low"));
        }
        let back = if self.drawn > 0 { format!("\x1b[{}F", self.drawn) } else { String::new() };
        self.drawn = shown.len();
        let plain = matches!(colours, ColorChoice::Never);
        let body: String = shown.iter().map(|line| format!("\x1b[2K{}\n", paint(line, plain))).collect();
        format!("{back}\x1b[?7l{body}\x1b[J\x1b[?7h")
    }
}

fn paint(line: &str, plain: bool) -> String {
    if plain { anstream::adapter::strip_str(line).to_string() } else { line.to_owned() }
}

/// A terminal that can go back over its lines.
pub(crate) fn can_redraw(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Lines of the terminal at standard output or standard error.
pub(crate) fn height(stream: impl std::os::fd::AsFd) -> usize {
    let rows = rustix::termios::tcgetwinsize(stream).map_or(0, |size| usize::from(size.ws_row));
    if rows == 0 { 24 } else { rows }
}

/// What anstream would do for this stream.
pub(crate) fn colours(stream: &impl anstream::stream::RawStream) -> ColorChoice {
    anstream::AutoStream::choice(stream)
}

/// Writes past the filter of colours.
pub(crate) fn write(out: &mut impl io::Write, frame: &str) -> io::Result<()> {
    out.write_all(frame.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("\x1b[32mline {i}\x1b[0m")).collect()
    }

    #[test]
    fn a_second_frame_goes_back_over_the_first() {
        let mut block = Block::default();
        assert!(!block.frame(&lines(3), 24, ColorChoice::Always).contains('F'));
        assert!(block.frame(&lines(5), 24, ColorChoice::Always).starts_with("\x1b[3F"));
        assert!(block.frame(&lines(1), 24, ColorChoice::Always).starts_with("\x1b[5F"));
    }

    #[test]
    fn without_colours_it_still_goes_back() {
        let mut block = Block::default();
        let _ = block.frame(&lines(2), 24, ColorChoice::Never);
        let second = block.frame(&lines(2), 24, ColorChoice::Never);
        assert!(second.starts_with("\x1b[2F") && !second.contains("\x1b[32m"), "{second:?}");
    }

    #[test]
    fn it_is_never_higher_than_the_window() {
        let mut block = Block::default();
        let frame = block.frame(&lines(100), 10, ColorChoice::Always);
        assert_eq!(frame.lines().filter(|l| l.contains("line")).count(), 9);
        assert!(frame.contains("92 more lines"), "{frame:?}");
        assert!(block.frame(&lines(1), 10, ColorChoice::Always).starts_with("\x1b[9F"));
    }
}
