//! All tags of a repository, or an error: never a part of them.

use crate::auth::authority;
use crate::client::{Ask, Registry};
use crate::content::bounded;
use crate::error::Error;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use serde::Deserialize;
use std::collections::BTreeSet;
use windlass_types::image::{Repository, is_tag};

/// Tags asked for in one page: what large registries give at most.
const PAGE: usize = 1000;
/// A page without a link to the next is whole where it has fewer tags than this: no registry is known
/// that makes smaller pages and does not say that there are more.
const SMALLEST_FULL_PAGE: usize = 50;
/// Pages at most; with those of the smallest full size, as many tags as [`TAGS`].
const PAGES: usize = 2000;
/// Tags at most: some hundred times what large public repositories have.
const TAGS: usize = 100_000;
/// Bytes of a page at most: Google's registry tells of every manifest along with the tags.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// All tags that a repository has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// Their names. None is an answer too: a registry that knows the repository and lists nothing.
    /// Whether that can be true of one that had tags before is for the caller to judge.
    pub names: BTreeSet<String>,
    /// Pages that were read.
    pub pages: usize,
}

#[derive(Deserialize)]
struct Page {
    /// Some registries write null for none; an answer without it is no list.
    tags: Option<Vec<String>>,
}

/// Where the next page is.
enum Next {
    /// A path with its query that the registry names.
    Link(String),
    /// After this tag; the registry did not say that there is more.
    Last(String),
    /// Nowhere: this was the last.
    End,
}

impl Registry {
    /// All tags of a repository. Follows the registry's links; where there is none on a page that may
    /// be full, asks for what comes after its last tag, and is done when that brings nothing new.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such repository, [`Error::Incomplete`] where the list
    /// began and broke off, other [`Error`]s where it did not begin. Never a part of the list.
    pub async fn tags(&self, repository: &Repository) -> Result<Tags, Error> {
        let image = format!("tags of {repository}");
        let incomplete = |reason: String| Error::Incomplete {
            image: image.clone(),
            reason,
        };
        let list = format!("/v2/{}/tags/list", repository.path());
        let mut path = format!("{list}?n={PAGE}");
        let mut asked = BTreeSet::new();
        let mut tags = Tags::default();
        loop {
            if !asked.insert(path.clone()) {
                return Err(incomplete("its pages go in circles".to_owned()));
            }
            if tags.pages == PAGES {
                return Err(incomplete(format!("it has more than {PAGES} pages")));
            }
            let answer = self
                .within(&image, self.page(repository, path, &image))
                .await;
            let (page, link) = match answer {
                Ok(page) => page,
                Err(error) if tags.pages == 0 => return Err(error),
                // How long to stay away is kept, all else is told in words.
                Err(error @ (Error::RateLimited { .. } | Error::Held { .. })) => return Err(error),
                Err(error) => {
                    return Err(incomplete(format!("page {}: {error}", tags.pages + 1)));
                }
            };
            tags.pages += 1;
            let before = tags.names.len();
            let next = next(repository, &page, link).map_err(&incomplete)?;
            tags.names
                .extend(page.into_iter().filter(|tag| is_tag(tag)));
            if tags.names.len() > TAGS {
                return Err(incomplete(format!("it has more than {TAGS} tags")));
            }
            path = match next {
                Next::End => return Ok(tags),
                // A registry that does not know `last` gives the same page again, for ever.
                Next::Last(_) if tags.names.len() == before => return Ok(tags),
                Next::Last(tag) => format!("{list}?n={PAGE}&last={tag}"),
                Next::Link(path) => path,
            };
        }
    }

    async fn page(
        &self,
        repository: &Repository,
        path: String,
        image: &str,
    ) -> Result<(Vec<String>, Option<Result<String, String>>), Error> {
        let answer = self
            .ask(&Ask {
                repository,
                method: Method::GET,
                path,
                accept: Some("application/json"),
                image,
            })
            .await?;
        let link = next_link(answer.url(), answer.headers());
        let bytes = bounded(image, answer, PAGE_BYTES).await?;
        // An object of another kind, such as an error with status 200, must not look like no tags.
        let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes)
            .map_err(|error| {
                Error::other(image, format_args!("its list is no JSON object: {error}"))
            })?;
        if !keys.contains_key("tags") {
            return Err(Error::other(image, "its list holds no tags"));
        }
        let page: Page = serde_json::from_value(serde_json::Value::Object(keys))
            .map_err(|error| Error::other(image, format_args!("its list of tags: {error}")))?;
        Ok((page.tags.unwrap_or_default(), link))
    }
}

fn next(
    repository: &Repository,
    page: &[String],
    link: Option<Result<String, String>>,
) -> Result<Next, String> {
    match (link, page.last()) {
        (Some(link), _) => link.map(Next::Link),
        (None, Some(last)) if page.len() >= SMALLEST_FULL_PAGE && is_tag(last) => {
            Ok(Next::Last(last.clone()))
        }
        (None, Some(last)) if page.len() >= SMALLEST_FULL_PAGE => Err(format!(
            "{last:?} in {repository} is no tag, so what comes after it cannot be asked for"
        )),
        (None, _) => Ok(Next::End),
    }
}

/// The path of the page that `Link: <…>; rel="next"` names (RFC 8288), or why it is not followed;
/// nothing where there is no such link.
fn next_link(page: &Url, headers: &HeaderMap) -> Option<Result<String, String>> {
    let values = headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let target = values.flat_map(|value| value.split(",")).find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|parameter| {
            parameter
                .trim()
                .split_once('=')
                .is_some_and(|(name, value)| {
                    name.trim().eq_ignore_ascii_case("rel")
                        && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
                })
        });
        next.then_some(target)
    })?;
    let Ok(url) = page.join(target) else {
        return Some(Err("its link to the next page is no address".to_owned()));
    };
    // Behind a proxy that ends TLS a registry may name itself with http; the way we came is kept. What
    // lets us in must go to nobody else.
    if url.host_str() != page.host_str() {
        return Some(Err(format!(
            "its next page is at another host, {}",
            authority(&url)
        )));
    }
    let query = url
        .query()
        .map_or(String::new(), |query| format!("?{query}"));
    Some(Ok(format!("{}{query}", url.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_the_next_page_are_read() {
        let page: Url = "https://r.io/v2/a/tags/list?n=2".parse().unwrap();
        let cases = [
            (None, None),
            (
                Some(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#),
                Some(Ok("/v2/a/tags/list?last=b&n=2".to_owned())),
            ),
            (
                Some(r#"<http://r.io/v2/a/tags/list?last=b>; title="x"; REL=next"#),
                Some(Ok("/v2/a/tags/list?last=b".to_owned())),
            ),
            (
                Some(r#"</first>; rel="first", <?last=c>; rel="next""#),
                Some(Ok("/v2/a/tags/list?last=c".to_owned())),
            ),
            (Some(r#"</first>; rel="first""#), None),
            (
                Some(r#"<https://evil.example/v2/>; rel="next""#),
                Some(Err(
                    "its next page is at another host, evil.example".to_owned()
                )),
            ),
        ];
        for (value, expected) in cases {
            let headers = value
                .map(|value| (LINK, value.parse().unwrap()))
                .into_iter()
                .collect();
            assert_eq!(next_link(&page, &headers), expected, "{value:?}");
        }
    }
}
