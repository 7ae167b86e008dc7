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
pub fn edit(file: &str, line: u32) -> String {
    match line {
        0 => format!("${{EDITOR:-vi}} {}", quoted(file)),
        line => format!("${{EDITOR:-vi}} +{line} {}", quoted(file)),
    }
}

/// Another line for a file of variables. What has no newline at its end is not continued, and what holds a secret is nobody
/// else's: a file that is made is closed to others.
pub(super) fn append(file: &str, name: &str, value: &str) -> String {
    format!("(umask 077 && printf '\\n{name}=%s\\n' {value} >> {})", quoted(file))
}

/// Gives files to a user, and to its group where it has one: who is only a number has none.
pub(super) fn chown(options: &str, user: &str, files: &str) -> String {
    let group = if user.bytes().all(|b| b.is_ascii_digit()) { "" } else { ":" };
    format!("chown {options}{}{group} {files}", quoted(user))
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
    fn a_line_is_added_to_a_file_and_not_to_its_last_line() {
        let command = append("/c/.flaskenv", "A", "1");
        assert_eq!(command, r"(umask 077 && printf '\nA=%s\n' 1 >> /c/.flaskenv)");
    }

    #[test]
    fn who_is_only_a_number_has_no_group() {
        assert_eq!(chown("-R ", "helm", "/h"), "chown -R helm: /h");
        assert_eq!(chown("", "64996", "/h"), "chown 64996 /h");
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("/srv/helm-1/a.b"), "/srv/helm-1/a.b");
        assert_eq!(quoted("/srv/a b"), "'/srv/a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("$HOME"), "'$HOME'");
        assert_eq!(quoted(""), "''");
    }
}
