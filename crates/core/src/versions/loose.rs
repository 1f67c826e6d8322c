//! Tags read as versions where no rule says how: whether one is below another.

use semver::{BuildMetadata, Prerelease, Version};

/// Whether going from the present tag to the shipped one goes down: both read as versions, with or
/// without `v`, and the shipped one is lower. A tag that is no version is above and below nothing.
#[must_use]
pub fn is_downgrade(present: Option<&str>, shipped: Option<&str>) -> bool {
    let version = |tag: Option<&str>| tag.and_then(read);
    matches!((version(present), version(shipped)), (Some(now), Some(next)) if next < now)
}

/// A tag as a version: up to three numbers, what is missing taken for 0, leading zeros let pass; then
/// what semantic versioning allows after `-` and `+`. What comes after `+` does not count.
pub(super) fn read(tag: &str) -> Option<Version> {
    let tag = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
    let tag = tag.split_once('+').map_or(tag, |(before, _)| before);
    let (numbers, suffix) = tag.split_once('-').unwrap_or((tag, ""));
    let mut parts = [0_u64; 3];
    let mut given = numbers.split('.');
    for (at, part) in parts.iter_mut().enumerate() {
        let Some(text) = given.next() else {
            // There is always a first, which may be empty.
            if at == 0 {
                return None;
            }
            break;
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        *part = digits.then(|| text.parse().ok()).flatten()?;
    }
    if given.next().is_some() {
        return None;
    }
    let [major, minor, patch] = parts;
    Some(Version {
        major,
        minor,
        patch,
        pre: Prerelease::new(suffix).ok()?,
        build: BuildMetadata::EMPTY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_version_is_a_downgrade_and_what_is_no_version_is_none() {
        let cases = [
            ("v1.2.3", "v1.2.2", true),
            ("1.2.3", "v1.2.2", true),
            ("v1.2.3", "1.2.3", false),
            ("v1.2.3", "v1.3", false),
            ("1.10", "1.9", true),
            ("v2", "v1", true),
            ("1.0.0", "1.0.0-rc.1", true),
            ("1.0.0-rc.2", "1.0.0-rc.10", false),
            ("1.28-alpine", "1.27-alpine", true),
            ("1.0.0+b2", "1.0.0+b1", false),
            ("2026.01.05", "2025.12.31", true),
            ("latest", "v1", false),
            ("v2", "latest", false),
            ("1.2.3.4", "1.0", false),
            ("", "1", false),
            ("99999999999999999999999", "1", false),
        ];
        for (present, shipped, expected) in cases {
            let found = is_downgrade(Some(present), Some(shipped));
            assert_eq!(found, expected, "{present} to {shipped}");
        }
        assert!(!is_downgrade(None, Some("v1")) && !is_downgrade(Some("v1"), None));
    }
}
