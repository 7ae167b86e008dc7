//! Commands as a person would type them.

/// Who will type the commands, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hands {
    /// How helmctl is called for this home: `helmctl`, or with `--home`.
    pub helmctl: String,
    /// They are root already.
    pub root: bool,
}

impl Hands {
    /// `helmctl` with these words.
    pub fn ctl(&self, words: &str) -> String {
        format!("{} {words}", self.helmctl)
    }

    /// A command that needs root.
    pub fn sudo(&self, command: &str) -> String {
        if self.root { command.to_owned() } else { format!("sudo {command}") }
    }
}

/// An editor at a place in a file.
pub(super) fn edit(file: &str, line: u32) -> String {
    match line {
        0 => format!("${{EDITOR:-vi}} {}", quoted(file)),
        line => format!("${{EDITOR:-vi}} +{line} {}", quoted(file)),
    }
}

/// A word for a shell: as it is where nothing in it means something there, else in quotes.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@+,%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("/srv/helm-1/a.b"), "/srv/helm-1/a.b");
        assert_eq!(quoted("/srv/a b"), "'/srv/a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("$HOME"), "'$HOME'");
        assert_eq!(quoted(""), "''");
    }
}
