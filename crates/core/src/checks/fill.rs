//! Placeholders in URLs and queries.

/// A text with every `{name}` of these replaced by its value, each escaped first. What is in braces
/// and not named here stays as it is, and a value is never looked through for placeholders.
#[must_use]
pub fn fill(text: &str, values: &[(&str, &str)], escape: fn(&str) -> String) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let found = after.split_once('}').and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        match found {
            Some((value, after)) => {
                filled.push_str(&escape(value));
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// As part of a URL: everything but letters, digits, `-`, `.`, `_` and `~` as `%XX` (RFC 3986, section
/// 2.3), so that a value can be neither a host of its own nor another path, query or port.
#[must_use]
pub fn escaped_for_url(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Inside a string of a Prometheus query, in any of its three quotes.
#[must_use]
pub fn escaped_for_query(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\'' | '\\' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\n' => escaped.push_str("\\n"),
            // No escape is known between backquotes; none of our values has one in it.
            '`' => {}
            other if other.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}
