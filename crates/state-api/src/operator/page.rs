//! Pages of listings, and the version a client has read.

use actix_web::HttpRequest;
use actix_web::http::header::{ETAG, HeaderName, IF_MATCH};
use std::fmt::Display;
use windlass_service::Problem;
use windlass_types::page::Page;
use windlass_types::problem::FieldError;

/// Rows of a page where the client does not say.
const USUAL: u32 = 100;
/// Rows of a page at most: some hundred kilobytes of JSON.
const MOST: u32 = 1000;

/// Rows to be given for the `limit` of a query.
pub(super) fn limit(given: Option<u32>) -> Result<i64, Problem> {
    match given {
        None => Ok(i64::from(USUAL)),
        Some(n) if (1..=MOST).contains(&n) => Ok(i64::from(n)),
        Some(n) => Err(wrong("limit", format!("{n} is not between 1 and {MOST}"))),
    }
}

/// The page of rows read with one more than `limit`, which tells whether there is a next page.
pub(super) fn page<T, K: Display>(mut items: Vec<T>, limit: i64, key: impl Fn(&T) -> K) -> Page<T> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let next = if items.len() > most {
        items.truncate(most);
        items.last().map(|item| key(item).to_string())
    } else {
        None
    };
    Page { items, next }
}

/// One field that is wrong.
pub(super) fn wrong(field: &str, message: impl Into<String>) -> Problem {
    Problem::Invalid(vec![FieldError::new(field, message)])
}

/// A reason that says something, trimmed.
pub(super) fn reason_of(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > 1000 {
        return Err(wrong("reason", "say why, in 1 to 1000 characters"));
    }
    Ok(text.to_owned())
}

/// The header that names a version.
pub(super) fn etag(version: i64) -> (HeaderName, String) {
    (ETAG, format!("\"{version}\""))
}

/// The version in `If-Match`: none where the header is absent or `*`.
pub(super) fn if_match(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let Some(value) = request.headers().get(IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("").trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok());
    version.map(Some).ok_or_else(|| {
        wrong(
            "If-Match",
            format!("{text:?} is no version; send the one that was read, quoted: \"3\""),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_next_one_only_if_there_is_one() {
        let cut = page(vec![1, 2, 3], 2, |n| *n);
        assert_eq!((cut.items, cut.next), (vec![1, 2], Some("2".to_owned())));
        let whole = page(vec![1, 2], 2, |n| *n);
        assert_eq!((whole.items, whole.next), (vec![1, 2], None));
    }
}
