//! JSON bodies, with errors that name the field.

use super::strict::Strict;
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
    T::deserialize(Strict(value)).map_err(|wrong| explain(&wrong.address(), &wrong.message))
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

/// serde's message about what stands at this address as a problem that names the field.
fn explain(address: &str, message: &str) -> Problem {
    let within = |name: &str| {
        if address.is_empty() {
            name.to_owned()
        } else {
            format!("{address}.{name}")
        }
    };
    let mut quoted = message.split('`').skip(1).step_by(2);
    let field = if message.starts_with("unknown field `") {
        quoted.next().map(|unknown| {
            let known: Vec<&str> = quoted.collect();
            let hint = nearest(unknown, &known).map_or_else(
                || format!("there is no such field; known are: {}", known.join(", ")),
                |near| format!("there is no such field; did you mean {near}?"),
            );
            FieldError::new(within(unknown), hint)
        })
    } else if message.starts_with("missing field `") {
        quoted
            .next()
            .map(|missing| FieldError::new(within(missing), "is required"))
    } else if address.is_empty() {
        None
    } else {
        Some(FieldError::new(address, message))
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
    use windlass_types::api::{NewTarget, Reason, TriggerRequest};
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
    fn an_array_is_no_object_wherever_it_stands() {
        let policy = |field: &str, value: Value| {
            let mut body = json!({"name": "a", "image": "r.io/a", "strategy": "auto"});
            body[field] = value;
            body
        };
        for (body, field) in [
            (policy("failure", json!([])), "failure"),
            (policy("health", json!([30, 300])), "health"),
            (policy("filters", json!([])), "filters"),
            (policy("tag", json!(["newest"])), "tag"),
            (
                policy("maintenance_windows", json!([["02:00", "04:00"]])),
                "maintenance_windows[0]",
            ),
        ] {
            let found = fields(&read::<PolicySpec>(body).unwrap_err());
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].0, field, "{found:?}");
        }
        let trigger = json!({"image": "r.io/a:v1", "reason": "x", "failure": []});
        let found = fields(&read::<TriggerRequest>(trigger).unwrap_err());
        assert_eq!(
            found,
            [("failure".to_owned(), "must be an object".to_owned())]
        );
        for (apps, field) in [
            (json!([]), "apps"),
            (json!({"1": [1, "demo", []]}), "apps.1"),
            (
                json!({"1": {"appId": 1, "appName": "a", "services": [[]]}}),
                "apps.1.services[0]",
            ),
        ] {
            let found = fields(&read::<NewTarget>(json!({"apps": apps})).unwrap_err());
            assert_eq!(found[0].0, field, "{found:?}");
        }
    }

    #[test]
    fn what_is_wrong_inside_has_its_address() {
        let mut body = json!({"name": "a", "image": "r.io/a", "strategy": "auto",
            "failure": {"max_failure_rat": 1}});
        let found = fields(&read::<PolicySpec>(body.clone()).unwrap_err());
        assert_eq!(found[0].0, "failure.max_failure_rat");
        assert!(found[0].1.contains("did you mean max_failure_rate?"));
        body["failure"] = json!({"min_sample": "5"});
        let found = fields(&read::<PolicySpec>(body.clone()).unwrap_err());
        assert_eq!(found[0].0, "failure.min_sample");
        body["failure"] = json!({});
        body["batches"] = json!([{"percent": 10}, {"share": 5}]);
        let found = fields(&read::<PolicySpec>(body.clone()).unwrap_err());
        assert_eq!(found[0].0, "batches[1]");
        body["batches"] = json!([{"percent": 10}]);
        body["tag"] = json!({"type": "semver", "range": ">=1"});
        let spec = read::<PolicySpec>(body.clone()).unwrap();
        assert_eq!(spec, serde_json::from_value(body).unwrap());
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
