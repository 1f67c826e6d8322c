//! Times as senders write them.

use chrono::{DateTime, NaiveDateTime, SubsecRound, TimeDelta, Utc};
use serde_json::Value;
use std::time::Duration;

/// Numbers from here on are milliseconds: as seconds this is the year 5138.
const MILLISECONDS_FROM: f64 = 1e11;

/// A time in one of the forms that senders use: RFC 3339, the same with a space, with an offset without a colon or without a zone
/// (which then is UTC), or a number of seconds or milliseconds since 1970, also as text. `None` for
/// anything else and for times before the year 2000, which stand for "not known".
pub(super) fn time(value: &Value) -> Option<DateTime<Utc>> {
    let time = match value {
        Value::Number(number) => of_number(number.as_f64()?)?,
        Value::String(text) => of_text(text.trim())?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    // 2000-01-01T00:00:00Z.
    let known = time.timestamp() >= 946_684_800;
    known.then(|| time.trunc_subsecs(6))
}

fn of_number(number: f64) -> Option<DateTime<Utc>> {
    let seconds = if number >= MILLISECONDS_FROM {
        number / 1000.0
    } else {
        number
    };
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    DateTime::UNIX_EPOCH.checked_add_signed(TimeDelta::from_std(since).ok()?)
}

fn of_text(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    for form in ["%Y-%m-%d %H:%M:%S%.f %z", "%Y-%m-%dT%H:%M:%S%.f%z"] {
        if let Ok(time) = DateTime::parse_from_str(text, form) {
            return Some(time.to_utc());
        }
    }
    let bare = text.strip_suffix("UTC").unwrap_or(text).trim_end();
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(bare, form) {
            return Some(time.and_utc());
        }
    }
    of_number(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_form_is_read() {
        let cases = [
            (json!("2026-03-01T12:00:00Z"), Some("2026-03-01T12:00:00Z")),
            (
                json!("2026-03-01T13:30:00.25+01:30"),
                Some("2026-03-01T12:00:00.25Z"),
            ),
            (
                json!("2026-03-01T04:00:00.123456789-08:00"),
                Some("2026-03-01T12:00:00.123456Z"),
            ),
            (
                json!("2026-03-01 12:00:00 UTC"),
                Some("2026-03-01T12:00:00Z"),
            ),
            (
                json!("2026-03-01 12:00:00 +0000"),
                Some("2026-03-01T12:00:00Z"),
            ),
            (json!("2026-03-01T12:00:00"), Some("2026-03-01T12:00:00Z")),
            (
                json!("2026-03-01T13:00:00.000+0100"),
                Some("2026-03-01T12:00:00Z"),
            ),
            (json!(" 1772366400 "), Some("2026-03-01T12:00:00Z")),
            (json!(1_772_366_400), Some("2026-03-01T12:00:00Z")),
            (json!(1_772_366_400.5), Some("2026-03-01T12:00:00.5Z")),
            (json!(1_772_366_400_000_i64), Some("2026-03-01T12:00:00Z")),
            (json!("0001-01-01T00:00:00Z"), None),
            (json!(0), None),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("NaN"), None),
            (json!("yesterday"), None),
            (json!(""), None),
            (json!(null), None),
            (json!({"at": 1}), None),
        ];
        for (value, expected) in cases {
            let expected = expected.map(|text| text.parse::<DateTime<Utc>>().unwrap());
            assert_eq!(time(&value), expected, "{value}");
        }
    }
}
