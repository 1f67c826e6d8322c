//! What a poll asks, read from its head once: a poll that is held keeps nothing else of it.

use actix_web::http::header::{HeaderMap, IF_NONE_MATCH};
use std::time::Duration;

/// The versions that a device has, as `If-None-Match` names them (RFC 9110, section 13.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tags {
    any: bool,
    /// Nearly always the only one, and so it needs no memory of its own.
    first: Option<i64>,
    more: Vec<i64>,
}

impl Tags {
    /// Those of a request; none where it has no such header. A tag that is no version of ours matches nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut tags = None;
        for value in headers.get_all(IF_NONE_MATCH) {
            let tags = tags.get_or_insert(Self {
                any: false,
                first: None,
                more: Vec::new(),
            });
            let named = value.to_str().unwrap_or_default().split(',').map(str::trim);
            for tag in named {
                if tag == "*" {
                    tags.any = true;
                } else if let Some(version) = version(tag) {
                    match tags.first {
                        None => tags.first = Some(version),
                        Some(_) => tags.more.push(version),
                    }
                }
            }
        }
        tags
    }

    /// Whether this version is among them.
    pub(crate) fn name(&self, version: i64) -> bool {
        self.any || self.first == Some(version) || self.more.contains(&version)
    }
}

fn version(tag: &str) -> Option<i64> {
    tag.strip_prefix("W/")
        .unwrap_or(tag)
        .strip_prefix('"')?
        .strip_suffix('"')?
        .parse()
        .ok()
}

/// The seconds of `Prefer: wait` (RFC 7240, section 4.3); 0 without one.
pub(crate) fn wait_of(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get_all("prefer")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn headers(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn an_etag_matches_its_version_and_no_other() {
        for (tag, expected) in [
            ("\"12\"", true),
            ("W/\"12\"", true),
            ("\"7\", \"12\"", true),
            ("\"7\", \"8\",\"12\"", true),
            ("*", true),
            ("\"1\"", false),
            ("\"123\"", false),
            ("12", false),
            ("", false),
        ] {
            let tags = Tags::of(&headers("if-none-match", &[tag])).unwrap();
            assert_eq!(tags.name(12), expected, "{tag}");
        }
        let twice = Tags::of(&headers("if-none-match", &["\"7\"", "\"12\""])).unwrap();
        assert!(twice.name(12) && twice.name(7) && !twice.name(1));
        assert_eq!(Tags::of(&headers("if-match", &["\"12\""])), None);
    }

    #[test]
    fn a_wait_is_read_among_other_preferences() {
        for (prefer, seconds) in [
            ("wait=30", 30),
            ("respond-async, wait=5", 5),
            ("Wait = 7", 7),
            ("wait", 0),
            ("wait=soon", 0),
            ("return=minimal", 0),
        ] {
            assert_eq!(
                wait_of(&headers("prefer", &[prefer])),
                Duration::from_secs(seconds),
                "{prefer}"
            );
        }
    }
}
