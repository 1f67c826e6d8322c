//! Which policy decides about a pushed image.

use globset::GlobBuilder;
use windlass_types::policy::TagRule;

/// Whether a rule takes a tag. Rules that are not offered yet take nothing.
#[must_use]
pub fn tag_matches(rule: &TagRule, tag: &str) -> bool {
    match rule {
        TagRule::Glob { pattern } => glob_matches(pattern, tag),
        TagRule::Semver { .. } | TagRule::Regex { .. } | TagRule::Numeric | TagRule::Newest => {
            false
        }
    }
}

/// Whether a glob takes a text: `*` stops at `/`, `**` does not. A pattern that is none takes nothing.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .is_ok_and(|glob| glob.compile_matcher().is_match(text))
}
