//! Collects what is wrong, field by field.

use super::Checked;
use globset::GlobBuilder;
use windlass_types::problem::FieldError;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Fields(Checked);

impl Fields {
    pub(super) fn invalid(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.invalid.push(FieldError::new(field, message));
    }

    pub(super) fn not_offered(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.not_offered.push(FieldError::new(field, message));
    }

    /// A text of so many characters, none of them a control character. Returns whether it is.
    pub(super) fn text(&mut self, field: &str, text: &str, min: usize, max: usize) -> bool {
        let length = text.chars().count();
        if !(min..=max).contains(&length) {
            self.invalid(field, format!("{min} to {max} characters, not {length}"));
        } else if text.chars().any(char::is_control) {
            self.invalid(field, "no control characters");
        } else {
            return true;
        }
        false
    }

    /// A number of seconds or things within bounds.
    pub(super) fn range(&mut self, field: &str, value: u32, min: u32, max: u32) {
        if !(min..=max).contains(&value) {
            self.invalid(field, format!("{min} to {max}, not {value}"));
        }
    }

    /// A glob. Returns whether it is one.
    pub(super) fn glob(&mut self, field: &str, pattern: &str) -> bool {
        match GlobBuilder::new(pattern).literal_separator(true).build() {
            Ok(_) => true,
            Err(error) => {
                self.invalid(field, format!("no glob: {}", error.kind()));
                false
            }
        }
    }

    pub(super) fn done(self) -> Checked {
        self.0
    }
}
