//! JSON bodies, with errors that name the field.

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::pin::Pin;
use windlass_service::Problem;
use windlass_types::problem::FieldError;

/// A JSON body of this type.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        // Limit, content type and syntax are the scaffold's to check.
        let json = web::Json::<Value>::from_request(request, payload);
        Box::pin(async move {
            let value = json.await?.into_inner();
            Ok(Self(read(value)?))
        })
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    // serde would take an array for a struct, field by field.
    if value.is_array() {
        return Err(Problem::Malformed(
            "the body must be a JSON object".to_owned(),
        ));
    }
    if has_nul(&value) {
        return Err(Problem::Malformed(
            "the body has a NUL character in a text, which no database keeps".to_owned(),
        ));
    }
    serde_json::from_value(value).map_err(|error| explain(&error.to_string()))
}

/// Whether a text anywhere in it has a NUL.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains('\0') || has_nul(v)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// serde's message as a problem: where it names a field, so do we.
fn explain(message: &str) -> Problem {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let field = if message.starts_with("unknown field `") {
        quoted.next().map(|unknown| {
            let known: Vec<&str> = quoted.collect();
            let hint = nearest(unknown, &known).map_or_else(
                || format!("there is no such field; known are: {}", known.join(", ")),
                |near| format!("there is no such field; did you mean {near}?"),
            );
            FieldError::new(unknown, hint)
        })
    } else if message.starts_with("missing field `") {
        quoted
            .next()
            .map(|missing| FieldError::new(missing, "is required"))
    } else {
        None
    };
    match field {
        Some(field) => Problem::Invalid(vec![field]),
        None => Problem::Malformed(format!("the body does not fit: {message}")),
    }
}

/// The known name that is fewest edits away, where those are at most a third of it.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (edits(unknown, name), *name))
        .filter(|(edits, name)| *edits <= name.len().div_ceil(3))
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((y, diagonal), above) in b.iter().zip(&row).zip(row.iter().skip(1)) {
            let left = next.last().copied().unwrap_or(0);
            next.push(
                (diagonal + usize::from(x != *y))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use windlass_types::api::Reason;
    use windlass_types::policy::PolicySpec;

    fn fields(problem: &Problem) -> Vec<(String, String)> {
        problem
            .body()
            .errors
            .into_iter()
            .map(|error| (error.field, error.message))
            .collect()
    }

    #[test]
    fn an_unknown_field_is_named_with_the_nearest_known_one() {
        let body = json!({"name": "a", "image": "r.io/a", "strategy": "auto", "batch": []});
        let problem = read::<PolicySpec>(body).unwrap_err();
        let found = fields(&problem);
        assert_eq!(found[0].0, "batch");
        assert!(found[0].1.contains("did you mean batches?"), "{found:?}");
        let body = json!({"reason": "x", "zzzzzzzzzz": 1});
        let found = fields(&read::<Reason>(body).unwrap_err());
        assert_eq!(found[0].0, "zzzzzzzzzz");
        assert!(found[0].1.contains("reason"), "{found:?}");
    }

    #[test]
    fn a_missing_field_is_named() {
        let found = fields(&read::<Reason>(json!({})).unwrap_err());
        assert_eq!(found, [("reason".to_owned(), "is required".to_owned())]);
    }

    #[test]
    fn a_nul_never_reaches_the_database() {
        for body in [
            json!({"reason": "a\0"}),
            json!({"a\0": 1}),
            json!({"a": ["\0"]}),
        ] {
            assert!(matches!(read::<Value>(body), Err(Problem::Malformed(_))));
        }
    }
}
