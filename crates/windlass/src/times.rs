//! Times and ids as people read them.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// How long ago, or until, in one unit.
pub(crate) fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = now.signed_duration_since(at).num_seconds();
    let span = span(seconds.unsigned_abs());
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("{span} ago"),
        _ => format!("in {span}"),
    }
}

/// The same, or a dash.
pub(crate) fn relative_or_dash(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| relative(at, now))
}

/// A length of time in its largest unit.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The end of an id whose beginning is a time: UUIDv7s made together begin alike.
pub(crate) fn short_tail(id: Uuid) -> String {
    let text = id.simple().to_string();
    text.get(24..).unwrap_or_default().to_owned()
}

/// The beginning of a random id.
pub(crate) fn short_head(id: Uuid) -> String {
    let text = id.simple().to_string();
    text.get(..8).unwrap_or_default().to_owned()
}

/// An image reference with its digest cut to twelve digits.
pub(crate) fn short_image(image: &str) -> String {
    match image.split_once("@sha256:") {
        Some((name, hex)) => format!("{name}@{}", hex.get(..12).unwrap_or(hex)),
        None => image.to_owned(),
    }
}

/// A text with every digest in it cut to twelve digits.
pub(crate) fn short_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (hex, rest) = part.split_at(digits);
        short.push_str("sha256:");
        short.push_str(if digits == 64 {
            hex.get(..12).unwrap_or(hex)
        } else {
            hex
        });
        short.push_str(rest);
    }
    short
}

/// So many of something: `1 device`, `2 devices`.
pub(crate) fn many(number: impl TryInto<u64>, what: &str) -> String {
    let number = number.try_into().unwrap_or(0);
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn times_are_told_in_one_unit() {
        let now = DateTime::UNIX_EPOCH;
        let told = |seconds| relative(now - TimeDelta::seconds(seconds), now);
        assert_eq!(
            [0, 5, 119, 120, 7200, 200_000, -90].map(told),
            [
                "now", "5s ago", "119s ago", "2m ago", "2h ago", "2d ago", "in 90s"
            ]
        );
    }

    #[test]
    fn images_keep_enough_of_their_digest_to_be_told_apart() {
        let image = format!("r:5000/demo/app:v2@sha256:{}", "ab".repeat(32));
        assert_eq!(short_image(&image), "r:5000/demo/app:v2@abababababab");
        assert_eq!(short_image("nginx:1"), "nginx:1");
        let text = format!("sha256:{} and sha256:12 differ", "ab".repeat(32));
        assert_eq!(
            short_digests(&text),
            "sha256:abababababab and sha256:12 differ"
        );
        assert_eq!(
            (many(1, "device"), many(2, "device")),
            ("1 device".to_owned(), "2 devices".to_owned())
        );
    }
}
