//! The little JSON that Helm writes: a services.json for each service, and the schema.

use std::fmt::Write;

/// A value to be written; objects keep their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Bool(bool),
    /// As it is to be written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Json::Text(text.into())
    }

    pub(super) fn number(n: impl ToString) -> Self {
        Json::Number(n.to_string())
    }

    pub(super) fn map<'a>(members: impl IntoIterator<Item = (&'a str, Json)>) -> Self {
        Json::Map(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Indented by two blanks, with a line end after it.
    pub(super) fn pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out.push('\n');
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Json::Number(n) => out.push_str(n),
            Json::Text(text) => write_text(out, text),
            Json::List(items) => {
                write_all(out, depth, ['[', ']'], items, |out, item| item.write(out, depth + 1))
            }
            Json::Map(members) => write_all(out, depth, ['{', '}'], members, |out, (name, value)| {
                write_text(out, name);
                out.push_str(": ");
                value.write(out, depth + 1);
            }),
        }
    }
}

fn write_all<T>(
    out: &mut String,
    depth: usize,
    around: [char; 2],
    items: &[T],
    mut one: impl FnMut(&mut String, &T),
) {
    let [open, close] = around;
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        indent(out, depth + 1);
        one(out, item);
    }
    if !items.is_empty() {
        out.push('\n');
        indent(out, depth);
    }
    out.push(close);
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_by_others() {
        let value = Json::map([
            ("a\"\\\u{1}\n", Json::Bool(true)),
            ("é", Json::List(vec![Json::number(5), Json::text("x")])),
            ("empty", Json::Map(Vec::new())),
        ]);
        let read: serde_json::Value = serde_json::from_str(&value.pretty()).unwrap();
        assert_eq!(read, serde_json::json!({"a\"\\\u{1}\n": true, "é": [5, "x"], "empty": {}}));
    }
}
