//! Bodies as JSON that both databases keep.

use serde_json::Value;
use std::borrow::Cow;
use windlass_service::Problem;

/// The bytes as JSON. A NUL in a text becomes the replacement character: PostgreSQL keeps none.
///
/// # Errors
/// 400 for what is no JSON.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, Problem> {
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    // A NUL can only be written as an escape, and few bodies have one.
    if bytes.windows(NUL.len()).any(|six| six == NUL.as_bytes()) {
        without_nul(&mut value);
    }
    Ok(value)
}

/// The bytes as a text of which JSON is made elsewhere: as they came, unless PostgreSQL would not keep them so.
///
/// # Errors
/// 400 for what is no text; for what is no JSON only where it is written anew.
pub(crate) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::Malformed(format!("the body is not valid UTF-8: {error}")))?;
    if is_odd(text) {
        return Ok(Cow::Owned(read(bytes)?.to_string()));
    }
    Ok(Cow::Borrowed(text))
}

pub(crate) fn malformed(error: &serde_json::Error) -> Problem {
    Problem::Malformed(format!("the body is not valid JSON: {error}"))
}

/// How a NUL is written.
const NUL: &str = r"\u0000";

/// Whether something in it could be JSON that PostgreSQL does not take apart, a NUL, or that serde_json reads as
/// something of its own. Neither is found in a usual report.
fn is_odd(text: &str) -> bool {
    text.contains(NUL) || text.contains("$serde_json")
}

fn without_nul(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace('\0', "\u{fffd}"),
        Value::Array(items) => items.iter_mut().for_each(without_nul),
        Value::Object(map) => {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(key, mut value)| {
                    without_nul(&mut value);
                    (key.replace('\0', "\u{fffd}"), value)
                })
                .collect();
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_stays_as_it_is_unless_a_database_would_not_keep_it() {
        for (sent, stays) in [
            (
                r#" { "b" : [0.0, 1e-17000, 1E+7, 1.50], "a": "\u00e4", "a": 1 } "#,
                true,
            ),
            (r#"["\u0000"]"#, false),
            (r#"{"$serde_json::private::Number":"1"}"#, false),
        ] {
            let kept = matches!(text(sent.as_bytes()), Ok(Cow::Borrowed(_)));
            assert_eq!(kept, stays, "{sent}");
        }
        assert_eq!(text(br#"[ "\u0000" ]"#).unwrap(), "[\"\u{fffd}\"]");
        assert!(text(b"\"\xff\"").is_err());
    }

    #[test]
    fn a_nul_is_replaced_wherever_it_stands() {
        let value = read(br#"{"a\u0000":["\u0000b",{"c":"\u0000"}]}"#).unwrap();
        assert_eq!(
            value,
            json!({"a\u{fffd}": ["\u{fffd}b", {"c": "\u{fffd}"}]})
        );
    }
}
