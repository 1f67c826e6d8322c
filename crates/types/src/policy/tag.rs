//! Which tags of a repository a policy is about, and which of them is newest.

use crate::text_enum::text_enum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

text_enum! {
    /// How texts that a regular expression extracts are compared.
    VersionOrder {
        /// Numbers, or several with dots between them: 9 before 10, 1.9 before 1.10.
        Numeric = "numeric",
        /// Byte by byte, as `LC_ALL=C sort` does.
        Alphabetical = "alphabetical",
        /// Semantic versions; what is missing of the three numbers counts as 0.
        Semver = "semver",
    }
}

/// Which tags of a repository a policy is about.
///
/// A rule with an order (`semver`, `regex` with `order`, `calendar`, `numeric`, `newest`) ships the newest
/// version it takes and never one below what a device runs. The others ship what is pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TagRule {
    /// Tags that match a glob (`*`, `?`, `[a-z]`, `{a,b}`).
    Glob {
        /// The pattern; `*` matches every tag.
        pattern: String,
    },
    /// One tag that is moved, such as `latest`: each digest it names is a version.
    Fixed {
        /// The tag.
        tag: String,
    },
    /// Semantic versions inside a range, with or without a leading `v`.
    Semver {
        /// The range, such as `>=1.2, <2`; `||` stands between alternatives.
        range: String,
        /// Whether pre-releases are taken that the range does not name itself.
        #[serde(default, skip_serializing_if = "is_false")]
        prerelease: bool,
    },
    /// Tags in which a regular expression is found.
    Regex {
        /// The expression; `^` and `$` tie it to the beginning and the end.
        pattern: String,
        /// What to compare, made from its groups: `$1`, `${name}`, `$1.$2`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extract: Option<String>,
        /// How that is compared; without it the rule has no order.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<VersionOrder>,
    },
    /// Tags that are dates, or begin with one and count on.
    Calendar {
        /// How they are written: `YYYY`, `YY`, `MM`, `WW`, `DD`, `N` for a number, and anything else
        /// as it stands.
        #[serde(default = "date_with_dots")]
        format: String,
    },
    /// Tags that are whole numbers; the highest is newest.
    Numeric,
    /// The image built last, by the time in its configuration where that can be true, else by when it
    /// was seen first.
    Newest {
        /// A glob over the tags that take part; all without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pattern: Option<String>,
    },
}

impl Default for TagRule {
    fn default() -> Self {
        Self::Glob {
            pattern: "*".to_owned(),
        }
    }
}

impl std::fmt::Display for TagRule {
    /// What tags it takes, for people, as in "it takes …".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Glob { pattern } => write!(f, "{pattern:?}"),
            Self::Fixed { tag } => write!(f, "the tag {tag:?}"),
            Self::Semver { range, prerelease } => {
                write!(f, "semantic versions {range:?}")?;
                f.write_str(if *prerelease {
                    " with pre-releases"
                } else {
                    ""
                })
            }
            Self::Regex { pattern, .. } => write!(f, "/{pattern}/"),
            Self::Calendar { format } => write!(f, "dates written {format}"),
            Self::Numeric => f.write_str("whole numbers"),
            Self::Newest { pattern: None } => f.write_str("whatever was built last"),
            Self::Newest {
                pattern: Some(pattern),
            } => write!(f, "what was built last of {pattern:?}"),
        }
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn date_with_dots() -> String {
    "YYYY.MM.DD".to_owned()
}
