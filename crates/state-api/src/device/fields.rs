//! Reading fields one by one, so that a refusal names every one that is wrong.

use serde_json::{Map, Value};
use windlass_service::Problem;
use windlass_types::problem::FieldError;

/// The fields of a JSON object, and what is wrong with those that were read.
pub(crate) struct Fields {
    object: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Of this body.
    ///
    /// # Errors
    /// 400 for what is no object.
    pub(crate) fn of(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(object) => Ok(Self {
                object,
                errors: Vec::new(),
            }),
            _ => Err(Problem::Malformed(
                "the body must be a JSON object".to_owned(),
            )),
        }
    }

    /// A text that must be there, not empty and not longer than this.
    pub(crate) fn text(&mut self, name: &str, longest: usize) -> String {
        let message = match self.object.get(name) {
            None | Some(Value::Null) => "is required".to_owned(),
            Some(Value::String(text)) if text.trim().is_empty() => "must not be empty".to_owned(),
            Some(Value::String(text)) if text.chars().count() > longest => {
                format!("must not be longer than {longest} characters")
            }
            Some(Value::String(text)) => return text.clone(),
            Some(_) => "must be a text".to_owned(),
        };
        self.wrong(name, message);
        String::new()
    }

    /// A text that may be there, cut to this length; another kind of value counts as absent, since
    /// existing agents send what they find on the device.
    pub(crate) fn optional_text(&self, name: &str, longest: usize) -> Option<String> {
        let text = self.object.get(name)?.as_str()?;
        (!text.is_empty()).then(|| text.chars().take(longest).collect())
    }

    /// A number that may be there.
    pub(crate) fn optional_number(&self, name: &str) -> Option<i64> {
        self.object.get(name)?.as_i64()
    }

    /// A text that must be there and read as this type.
    pub(crate) fn parsed<T: std::str::FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let text = self.text(name, 255);
        let parsed = text.parse().ok();
        if parsed.is_none() && !text.is_empty() {
            self.wrong(name, format!("must be {wanted}"));
        }
        parsed
    }

    /// Says that this field is wrong.
    pub(crate) fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError::new(name, message));
    }

    /// Done reading.
    ///
    /// # Errors
    /// 400 with every field that is wrong.
    pub(crate) fn done(self) -> Result<(), Problem> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::Invalid(self.errors))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let body = json!({"empty": " ", "number": 1, "long": "abc", "good": "x", "odd": []});
        let mut fields = Fields::of(body).unwrap();
        for name in ["missing", "empty", "number", "long"] {
            fields.text(name, 2);
        }
        assert_eq!(fields.text("good", 2), "x");
        assert_eq!(fields.optional_text("odd", 2), None);
        assert_eq!(fields.optional_text("long", 2).as_deref(), Some("ab"));
        assert_eq!(fields.optional_number("number"), Some(1));
        assert_eq!(fields.parsed::<i64>("good", "a number"), None);
        let Err(Problem::Invalid(errors)) = fields.done() else {
            panic!("nothing was wrong");
        };
        let named: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(named, ["missing", "empty", "number", "long", "good"]);
    }

    #[test]
    fn a_body_must_be_an_object() {
        assert!(Fields::of(json!([])).is_err());
    }
}
