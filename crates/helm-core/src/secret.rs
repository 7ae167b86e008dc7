//! What of an environment is a secret, by its name and its form.

use std::borrow::Cow;

/// Stands in place of a secret, whatever its length.
pub const MASK: &str = "********";

/// Parts of a name that say it.
const WORDS: [&str; 7] = ["PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "CREDENTIAL", "PRIVATE"];
/// What a word of such a name ends with: `DBPASS`, `API_KEY`, `SENTRY_DSN`.
const ENDS: [&str; 7] = ["KEY", "KEYS", "PASS", "PW", "PWD", "AUTH", "DSN"];
/// The directory that a shell stands in, and the one before.
const PLACES: [&str; 2] = ["PWD", "OLDPWD"];

/// The value as it may be shown: whole behind a name that speaks of a secret, else without the passwords in it. An empty one hides nothing.
pub fn shown<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if !value.is_empty() && is_secret(name) {
        return Cow::Borrowed(MASK);
    }
    without_passwords(value)
}

/// A name that speaks of a secret: `DB_PASSWORD`, `API_KEY`, `githubToken`; not `KEYCLOAK_URL`.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let contains = WORDS.iter().any(|part| name.contains(part));
    !PLACES.contains(&name.as_str())
        && (contains || words.any(|word| ENDS.iter().any(|end| word.ends_with(end))))
}

/// A text without the passwords of addresses (`postgres://user:password@host/`) and of `password=…`.
pub fn without_passwords(text: &str) -> Cow<'_, str> {
    let mut hidden = addresses(text);
    hidden.extend(assignments(text));
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    hidden.sort_unstable();
    let (mut shown, mut at) = (String::with_capacity(text.len()), 0);
    for (from, to) in hidden {
        if from >= at {
            shown.push_str(&text[at..from]);
            shown.push_str(MASK);
            at = to;
        }
    }
    shown.push_str(&text[at..]);
    Cow::Owned(shown)
}

/// Byte ranges of passwords in addresses: between the first colon of the part before the host and its `@`.
fn addresses(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("://") {
        let begin = at + mark.len();
        let rest = &text[begin..];
        // A `/` in a password is written `%2F`; what is not, ends what can be told for sure.
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\''));
        let authority = &rest[..end.unwrap_or(rest.len())];
        let Some((user, _)) = authority.rsplit_once('@') else { continue };
        if let Some(colon) = user.find(':').filter(|colon| colon + 1 < user.len()) {
            found.push((begin + colon + 1, begin + user.len()));
        }
    }
    found
}

/// Byte ranges behind `password=`, up to what can end a value in a connection string or a query.
fn assignments(text: &str) -> Vec<(usize, usize)> {
    let low = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, word) in low.match_indices("password=") {
        let begin = at + word.len();
        let end = low[begin..].find(|c: char| c.is_whitespace() || matches!(c, '&' | ';'));
        let end = end.map_or(text.len(), |end| begin + end);
        if end > begin {
            found.push((begin, end));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_speak_of_a_secret() {
        for name in [
            "DB_PASSWORD",
            "SECRET_KEY",
            "githubToken",
            "API_KEY",
            "apikey",
            "SSH_KEYS",
            "DBPASS",
            "SENTRY_DSN",
        ] {
            assert_eq!(shown(name, "hunter2"), MASK, "{name}");
        }
        for name in ["KEYCLOAK_URL", "PATH", "PWD", "OLDPWD", "KEYBOARD", "AUTHOR", "HOME"] {
            assert_eq!(shown(name, "value"), "value", "{name}");
        }
        assert_eq!(shown("DB_PASSWORD", ""), "", "nothing is hidden there");
    }

    #[test]
    fn passwords_in_addresses_and_connection_strings() {
        let cases = [
            ("postgres://helm:p:w@db:5432/x?y=1", "postgres://helm:********@db:5432/x?y=1"),
            ("redis://:pw@localhost", "redis://:********@localhost"),
            ("a://u:1@h, b://v:2@i", "a://u:********@h, b://v:********@i"),
            ("host=db password=pw user=x", "host=db password=******** user=x"),
            (
                "jdbc:postgresql://h/db?user=a&PASSWORD=pw&ssl=1",
                "jdbc:postgresql://h/db?user=a&PASSWORD=********&ssl=1",
            ),
            ("http://user@host:80/", "http://user@host:80/"),
            ("http://host/a:b@c", "http://host/a:b@c"),
            ("user:@x", "user:@x"),
            ("postgres://helm:@db", "postgres://helm:@db"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_passwords(text), expected);
        }
    }
}
