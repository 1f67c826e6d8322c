//! How times, numbers and images are said.

use chrono::{DateTime, Timelike, Utc};
use windlass_types::image::ImageReference;

/// A time, without seconds where they are none.
pub(super) fn time(at: DateTime<Utc>) -> String {
    let format = if at.second() == 0 {
        "%Y-%m-%d %H:%M UTC"
    } else {
        "%Y-%m-%d %H:%M:%S UTC"
    };
    at.format(format).to_string()
}

/// `, until TIME` and the like, where there is a time.
pub(super) fn when(words: &str, at: Option<DateTime<Utc>>) -> String {
    at.map(|at| format!("{words}{}", time(at)))
        .unwrap_or_default()
}

/// `1 device`, `2 devices`.
pub(super) fn many(number: i64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `1 device is`, `2 devices are`.
pub(super) fn many_are(number: i64, what: &str) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", many(number, what))
}

/// `1 device is on its way`, `2 devices are on their way`.
pub(super) fn on_the_way(number: i64) -> String {
    if number == 1 {
        "1 device is on its way".to_owned()
    } else {
        format!("{number} devices are on their way")
    }
}

/// An image as people name it: by its tag, or by the beginning of its digest where it has none.
pub(super) fn name(image: &str) -> String {
    let Ok(reference) = image.parse::<ImageReference>() else {
        return image.to_owned();
    };
    match (reference.tag(), reference.digest()) {
        (Some(tag), _) => format!("{}:{tag}", reference.repository()),
        (None, Some(digest)) => format!("{}@{}", reference.repository(), digest.short()),
        (None, None) => reference.repository().to_string(),
    }
}

/// Somebody's words as the end of a sentence: no full stop at their end, as one follows, no digest
/// in full length, and one line.
pub(super) fn words(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut parts = line.split("sha256:");
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (hex, rest) = part.split_at(digits);
        let kept = if digits == 64 { 12 } else { digits };
        short.push_str("sha256:");
        short.push_str(hex.get(..kept).unwrap_or(hex));
        short.push_str(rest);
    }
    short.trim_end_matches(['.', ' ']).to_owned()
}

/// `: words`, where there are any.
pub(super) fn because(detail: Option<&str>) -> String {
    detail
        .map(words)
        .filter(|text| !text.is_empty())
        .map(|text| format!(": {text}"))
        .unwrap_or_default()
}

/// `a, b and c`.
pub(super) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `once`, `2 times`.
pub(super) fn times(number: i64) -> String {
    if number == 1 {
        "once".to_owned()
    } else {
        format!("{number} times")
    }
}

/// `: a, b and 2 more`, of so many of whom these are named.
pub(super) fn named(all: i64, names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let mut named = names.to_vec();
    let more = all - i64::try_from(names.len()).unwrap_or(0);
    if more > 0 {
        named.push(format!("{more} more"));
    }
    format!(": {}", list(&named))
}
