//! A tag rule, ready to be asked about tags.

use super::calendar::Calendar;
use super::key::{Key, Number, numbers};
use super::loose;
use super::pattern::{Template, compile};
use super::range::{self, Range};
use crate::matching::glob_matches;
use globset::GlobBuilder;
use regex::bytes::Regex;
use windlass_types::policy::{TagRule, VersionOrder};

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct InvalidRule {
    /// The field of the policy.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A tag rule, ready to be asked about tags.
#[derive(Debug, Clone)]
pub struct Rule(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Glob(String),
    Fixed(String),
    Semver {
        range: Range,
        text: String,
        prerelease: bool,
    },
    Regex {
        regex: Regex,
        pattern: String,
        order: Option<(Template, VersionOrder)>,
    },
    Calendar {
        calendar: Calendar,
        format: String,
    },
    Numeric,
    Newest(Option<String>),
}

/// What a rule makes of a tag that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The version as it was extracted from the tag.
    pub version: String,
    /// What it is compared by; none where the rule has no order or does not take it from the tag.
    pub key: Option<Key>,
}

/// Why a rule does not take a tag, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the sentences say what each is")]
pub enum Mismatch {
    #[error("it does not match {pattern:?}")]
    Glob { pattern: String },
    #[error("it is not the tag {tag:?}")]
    Fixed { tag: String },
    #[error("it is no semantic version of three numbers")]
    NoVersion,
    #[error("{version} is a pre-release, which the policy takes only with `prerelease`")]
    Prerelease { version: String },
    #[error("{version} is outside {range:?}")]
    Outside { version: String, range: String },
    #[error("/{pattern}/ is not found in it")]
    Regex { pattern: String },
    #[error("{extracted:?}, which is extracted from it, {what}")]
    Unreadable {
        extracted: String,
        what: &'static str,
    },
    #[error("it is no date written {format}")]
    Calendar { format: String },
    #[error("it is no whole number")]
    Number,
    #[error("it is the tag of a signature or the like, not of an image")]
    Attachment,
}

impl Rule {
    /// Makes a rule ready.
    ///
    /// # Errors
    /// [`InvalidRule`] with the field and what is wrong with it.
    pub fn new(rule: &TagRule) -> Result<Self, InvalidRule> {
        let invalid = |field| move |reason| InvalidRule { field, reason };
        Ok(Self(match rule {
            TagRule::Glob { pattern } => Kind::Glob(glob(pattern)?),
            TagRule::Fixed { tag } => Kind::Fixed(tag.clone()),
            TagRule::Semver { range, prerelease } => Kind::Semver {
                text: range.clone(),
                range: Range::read(range).map_err(invalid("tag.range"))?,
                prerelease: *prerelease,
            },
            TagRule::Regex {
                pattern,
                extract,
                order,
            } => {
                let regex = compile(pattern).map_err(invalid("tag.pattern"))?;
                let order = match (extract, order) {
                    (Some(extract), Some(order)) => {
                        let template =
                            Template::read(extract, &regex).map_err(invalid("tag.extract"))?;
                        Some((template, *order))
                    }
                    (None, None) => None,
                    (Some(_), None) => {
                        return Err(invalid("tag.order")(
                            "what is extracted is compared: give numeric, alphabetical or semver"
                                .to_owned(),
                        ));
                    }
                    (None, Some(_)) => {
                        return Err(invalid("tag.extract")(
                            "an order needs what is compared, such as $1; $0 is all that matched"
                                .to_owned(),
                        ));
                    }
                };
                Kind::Regex {
                    regex,
                    pattern: pattern.clone(),
                    order,
                }
            }
            TagRule::Calendar { format } => Kind::Calendar {
                calendar: Calendar::read(format).map_err(invalid("tag.format"))?,
                format: format.clone(),
            },
            TagRule::Numeric => Kind::Numeric,
            TagRule::Newest { pattern } => Kind::Newest(pattern.as_deref().map(glob).transpose()?),
        }))
    }

    /// Whether it takes a tag that is pushed, and what it reads in it.
    ///
    /// # Errors
    /// [`Mismatch`] says why it does not take it.
    pub fn read(&self, tag: &str) -> Result<Read, Mismatch> {
        if is_attachment(tag) {
            return Err(Mismatch::Attachment);
        }
        let plain = |found: bool, why: Mismatch| {
            let read = Read {
                version: tag.to_owned(),
                key: None,
            };
            if found { Ok(read) } else { Err(why) }
        };
        match &self.0 {
            Kind::Glob(pattern) | Kind::Newest(Some(pattern)) => plain(
                glob_matches(pattern, tag),
                Mismatch::Glob {
                    pattern: pattern.clone(),
                },
            ),
            Kind::Newest(None) => plain(true, Mismatch::NoVersion),
            Kind::Fixed(fixed) => plain(fixed == tag, Mismatch::Fixed { tag: fixed.clone() }),
            Kind::Semver {
                range,
                text,
                prerelease,
            } => {
                let version = range::version(tag).ok_or(Mismatch::NoVersion)?;
                if range.takes(&version, *prerelease) {
                    return Ok(Read {
                        version: version.to_string(),
                        key: Some(Key::Semver(version)),
                    });
                }
                // Worth another word where it is not the numbers that are outside.
                let shown = version.to_string();
                Err(if !prerelease && range.takes(&version, true) {
                    Mismatch::Prerelease { version: shown }
                } else {
                    Mismatch::Outside {
                        version: shown,
                        range: text.clone(),
                    }
                })
            }
            Kind::Regex {
                regex,
                pattern,
                order,
            } => {
                let captures = regex
                    .captures(tag.as_bytes())
                    .ok_or_else(|| Mismatch::Regex {
                        pattern: pattern.clone(),
                    })?;
                let Some((template, order)) = order else {
                    return plain(true, Mismatch::NoVersion);
                };
                let version = template.fill(&captures);
                match compared(&version, *order) {
                    Ok(key) => Ok(Read {
                        version,
                        key: Some(key),
                    }),
                    Err(what) => Err(Mismatch::Unreadable {
                        extracted: version,
                        what,
                    }),
                }
            }
            Kind::Calendar { calendar, format } => {
                let key = calendar.key(tag).ok_or_else(|| Mismatch::Calendar {
                    format: format.clone(),
                })?;
                Ok(Read {
                    version: tag.to_owned(),
                    key: Some(key),
                })
            }
            Kind::Numeric => {
                let number = Number::read(tag).ok_or(Mismatch::Number)?;
                Ok(Read {
                    version: tag.to_owned(),
                    key: Some(Key::Numbers(vec![number])),
                })
            }
        }
    }

    /// Whether it takes a tag that is pushed.
    #[must_use]
    pub fn takes(&self, tag: &str) -> bool {
        self.read(tag).is_ok()
    }

    /// Whether a service on this tag is moved by what it takes. A range says what ships, not what runs
    /// now: so a service on any release is moved by one, and on a pre-release by one with
    /// pre-releases, because there the tag may as well name another variant of the image.
    #[must_use]
    pub fn moves(&self, tag: &str) -> bool {
        match &self.0 {
            Kind::Semver { prerelease, .. } => {
                let version = range::version(tag);
                version.is_some_and(|version| *prerelease || version.pre.is_empty())
                    || self.takes(tag)
            }
            Kind::Glob(_)
            | Kind::Fixed(_)
            | Kind::Regex { .. }
            | Kind::Calendar { .. }
            | Kind::Numeric
            | Kind::Newest(_) => self.takes(tag),
        }
    }

    /// What a tag is compared by, also where it is outside of what the rule takes.
    #[must_use]
    pub fn key(&self, tag: &str) -> Option<Key> {
        match &self.0 {
            Kind::Semver { .. } => range::version(tag).map(Key::Semver),
            Kind::Glob(_)
            | Kind::Fixed(_)
            | Kind::Regex { .. }
            | Kind::Calendar { .. }
            | Kind::Numeric
            | Kind::Newest(_) => self.read(tag).ok().and_then(|read| read.key),
        }
    }

    /// Whether the newest of what it takes ships, rather than whatever is pushed.
    #[must_use]
    pub const fn is_ordered(&self) -> bool {
        match &self.0 {
            Kind::Glob(_) | Kind::Fixed(_) => false,
            Kind::Regex { order, .. } => order.is_some(),
            Kind::Semver { .. } | Kind::Calendar { .. } | Kind::Numeric | Kind::Newest(_) => true,
        }
    }

    /// Whether the time at which an image was built is its version.
    #[must_use]
    pub const fn is_by_build_date(&self) -> bool {
        matches!(&self.0, Kind::Newest(_))
    }
}

/// Whether a tag is one that tools make from an image's digest for what they keep beside it:
/// `sha256-<hex>.sig`, `.att`, `.sbom`, and `sha256-<hex>` by the referrers tag schema of the OCI
/// distribution specification. Whatever a rule says, it names no image.
fn is_attachment(tag: &str) -> bool {
    tag.strip_prefix("sha256-")
        .and_then(|rest| rest.get(..64))
        .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn glob(pattern: &str) -> Result<String, InvalidRule> {
    match GlobBuilder::new(pattern).literal_separator(true).build() {
        Ok(_) => Ok(pattern.to_owned()),
        Err(error) => Err(InvalidRule {
            field: "tag.pattern",
            reason: format!("no glob: {}", error.kind()),
        }),
    }
}

fn compared(text: &str, order: VersionOrder) -> Result<Key, &'static str> {
    match order {
        VersionOrder::Numeric => {
            numbers(text).ok_or("is no number, nor several with dots between them")
        }
        VersionOrder::Alphabetical if text.is_empty() => Err("is empty"),
        VersionOrder::Alphabetical => Ok(Key::Text(text.to_owned())),
        VersionOrder::Semver => loose::read(text)
            .map(Key::Semver)
            .ok_or("is no semantic version"),
    }
}
