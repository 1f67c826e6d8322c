//! Command lines.

use super::value::{Field, Read};
use serde_json::Value;

/// A command: a list of words, or a text that is split as a shell would, without expanding anything.
pub(super) fn command(field: &Field<'_>) -> Read<Vec<String>> {
    match field.value {
        Value::Array(_) => field.list()?.iter().map(Field::scalar).collect(),
        Value::String(text) => match split(text) {
            Some(words) => Ok(words),
            None => field.wrong("a quote is opened and not closed"),
        },
        _ => field.expected("a command: a text or a list of words"),
    }
}

/// Splits a text into words at blanks outside quotes.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_as_a_shell_would() {
        for (text, words) in [
            ("", Some(vec![])),
            ("  a  b ", Some(vec!["a", "b"])),
            (
                r#"sh -c "echo \"hi\" $X""#,
                Some(vec!["sh", "-c", "echo \"hi\" $X"]),
            ),
            (r"a\ b 'c d'e ''", Some(vec!["a b", "c de", ""])),
            (r#""a\nb""#, Some(vec![r"a\nb"])),
            ("'open", None),
            ("\"open", None),
            ("end\\", None),
        ] {
            let expected = words.map(|w| w.into_iter().map(str::to_owned).collect());
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
