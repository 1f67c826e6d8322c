//! Semantic versions and ranges of them.

use semver::{BuildMetadata, Comparator, Op, Version, VersionReq};

/// Alternatives of one range at most.
const MAX_ALTERNATIVES: usize = 16;

/// A tag as a semantic version: all three numbers, with or without a leading `v`. What comes after `+`
/// does not count.
pub(super) fn version(tag: &str) -> Option<Version> {
    let mut version = Version::parse(tag.strip_prefix(['v', 'V']).unwrap_or(tag)).ok()?;
    version.build = BuildMetadata::EMPTY;
    Some(version)
}

/// Alternatives, of which one must hold.
#[derive(Debug, Clone)]
pub(super) struct Range(Vec<VersionReq>);

impl Range {
    /// Reads `>=1.2, <2`; a space does for a comma, `||` stands between alternatives, a `v` before
    /// a number is let pass. A version alone means what is compatible with it (`^`).
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let alternatives: Vec<&str> = text.split("||").collect();
        if alternatives.len() > MAX_ALTERNATIVES {
            return Err(format!("at most {MAX_ALTERNATIVES} alternatives"));
        }
        let read = |part: &&str| {
            let part = part.trim();
            if part.is_empty() {
                return Err("a range is missing; `*` takes every version".to_owned());
            }
            VersionReq::parse(&with_commas(part))
                .map_err(|error| format!("{part:?} is no range: {error}"))
        };
        alternatives
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a version is inside. A pre-release is where the range names one of the same three
    /// numbers, and with `prerelease` also where those are inside: never above an upper bound, never
    /// below a lower one.
    pub(super) fn takes(&self, version: &Version, prerelease: bool) -> bool {
        self.0.iter().any(|alternative| {
            alternative.matches(version)
                || (prerelease && !version.pre.is_empty() && takes_early(alternative, version))
        })
    }
}

fn takes_early(range: &VersionReq, version: &Version) -> bool {
    let release = Version::new(version.major, version.minor, version.patch);
    let released = |comparator: &Comparator| {
        // Only what the comparator asks of releases; what it says of pre-releases comes below.
        let plain = Comparator {
            pre: semver::Prerelease::EMPTY,
            ..comparator.clone()
        };
        plain.matches(&release) && !below(comparator, version, &release)
    };
    range.comparators.iter().all(released)
}

/// Whether a comparator names these three numbers, what it leaves out counting as 0.
fn at(comparator: &Comparator, release: &Version) -> bool {
    (
        comparator.major,
        comparator.minor.unwrap_or(0),
        comparator.patch.unwrap_or(0),
    ) == (release.major, release.minor, release.patch)
}

/// Whether a pre-release of a bound's own three numbers comes before the bound.
fn below(comparator: &Comparator, version: &Version, release: &Version) -> bool {
    let bound = matches!(
        comparator.op,
        Op::GreaterEq | Op::Caret | Op::Tilde | Op::Exact | Op::Wildcard
    );
    bound && at(comparator, release) && (comparator.pre.is_empty() || version.pre < comparator.pre)
}

/// Commas where only spaces stand between comparators, and no `v` before their numbers.
fn with_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // After an operator or a comma a space separates nothing.
    let mut open = true;
    let mut space = false;
    let mut previous = ' ';
    for c in text.chars() {
        if c.is_whitespace() {
            space = true;
            continue;
        }
        if space && !open && c != ',' {
            out.push(',');
        }
        let starts = open || space;
        space = false;
        open = matches!(c, ',' | '>' | '<' | '=' | '^' | '~');
        let v =
            matches!(c, 'v' | 'V') && (starts || matches!(previous, '>' | '<' | '=' | '^' | '~'));
        if !v {
            out.push(c);
        } else {
            open = true;
        }
        previous = c;
    }
    out
}
