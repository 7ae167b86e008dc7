//! Sets keys in an INI file, and leaves everything else of it byte for byte.

/// The settings of `section`, as they are written.
pub fn settings<'t>(text: &'t str, section: &str) -> Vec<&'t str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines().map(|line| line.trim().trim_start_matches('\u{feff}')) {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.trim_end_matches(']').trim() == section;
        } else if inside && !line.is_empty() && !line.starts_with(['#', ';']) {
            found.push(line);
        }
    }
    found
}

/// `text` with `key = value` in `section`. A key that is there is replaced where it stands (further ones of that name go, since the last one
/// would hold); a new key comes behind the last line of its section; a new section at the end.
pub fn set(text: &str, section: &str, key: &str, value: &str) -> String {
    let ending = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let line = format!("{key} = {value}{ending}");
    let mut out = String::with_capacity(text.len() + line.len() + section.len() + 4);
    let (mut inside, mut done) = (false, false);
    // Where a new key would be put: behind the last line of the section that says something.
    let mut place = None;
    for old in text.split_inclusive('\n') {
        let words = old.trim().trim_start_matches('\u{feff}');
        if let Some(name) = words.strip_prefix('[') {
            inside = name.trim_end_matches(']').trim() == section;
        } else if inside && names(words, key) {
            if !done {
                out.push_str(&line);
                done = true;
                place = Some(out.len());
            }
            continue;
        }
        out.push_str(old);
        if inside && !words.is_empty() {
            place = Some(out.len());
        }
    }
    if done {
        return out;
    }
    match place {
        Some(at) => {
            let gap = if out[..at].ends_with('\n') { "" } else { ending };
            out.insert_str(at, &format!("{gap}{line}"));
        }
        None => {
            if !out.is_empty() {
                out.push_str(if out.ends_with('\n') { ending } else { "\n\n" });
            }
            out.push_str(&format!("[{section}]{ending}{line}"));
        }
    }
    out
}

fn names(line: &str, key: &str) -> bool {
    !line.starts_with(['#', ';']) && line.split_once(['=', ':']).is_some_and(|(name, _)| name.trim() == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "; mine\n[retention]\n  default: 90d   \n# kept\naudit = forever\n\n[database]\nconnection_string = postgresql://u:p%40@h/d\n";

    #[test]
    fn a_key_is_replaced_where_it_stands_and_the_rest_stays() {
        let set = set(TEXT, "retention", "default", "30d 20G");
        assert_eq!(set, TEXT.replace("  default: 90d   \n", "default = 30d 20G\n"));
    }

    #[test]
    fn a_new_key_comes_at_the_end_of_its_section_and_a_new_section_at_the_end() {
        assert_eq!(
            set(TEXT, "retention", "debug", "1d"),
            TEXT.replace("audit = forever\n", "audit = forever\ndebug = 1d\n")
        );
        assert_eq!(set(TEXT, "helm", "start_cap", "3"), format!("{TEXT}\n[helm]\nstart_cap = 3\n"));
        assert_eq!(set("", "a", "b", "c"), "[a]\nb = c\n");
        assert_eq!(set("[a]\nx = 1", "a", "b", "c"), "[a]\nx = 1\nb = c\n");
        assert_eq!(set("[a]\nx = 1", "z", "b", "c"), "[a]\nx = 1\n\n[z]\nb = c\n");
        assert_eq!(set("[a]\r\nx = 1\r\n", "a", "x", "2"), "[a]\r\nx = 2\r\n");
    }

    #[test]
    fn the_same_name_elsewhere_or_in_a_comment_is_not_touched_and_a_double_goes() {
        let text = "[a]\n# b = 1\nb = 1\nb = 2\n[c]\nb = 3\n";
        assert_eq!(set(text, "a", "b", "x"), "[a]\n# b = 1\nb = x\n[c]\nb = 3\n");
        let once = set(text, "a", "b", "x");
        assert_eq!(set(&once, "a", "b", "x"), once);
    }
}
