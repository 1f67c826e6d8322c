//! Lists of tags: whole, or an error.
#![expect(clippy::unwrap_used, reason = "tests are to fail loudly")]

use std::collections::BTreeSet;
use std::time::Duration;
use windlass_registry::{Error, Options, Registry, Tags};
use windlass_types::image::Repository;
use wiremock::matchers::{method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

const LIST: &str = "/v2/demo/app/tags/list";

fn client(host: &str) -> Registry {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    Registry::new(Options {
        http_hosts: [host.to_owned()].into(),
        timeout: Some(Duration::from_secs(5)),
        ..Options::default()
    })
    .unwrap()
}

async fn ask(host: &str) -> Result<Tags, Error> {
    let repository = Repository::new(host, "demo/app").unwrap();
    client(host).tags(&repository).await
}

fn names(tags: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    tags.into_iter().map(Into::into).collect()
}

fn page(tags: &[impl AsRef<str>]) -> ResponseTemplate {
    let tags: Vec<&str> = tags.iter().map(AsRef::as_ref).collect();
    ResponseTemplate::new(200).set_body_json(serde_json::json!({"name": "demo/app", "tags": tags}))
}

/// A registry that answers the first page so, and what comes after `last` so.
async fn registry(first: ResponseTemplate, then: &[(&str, ResponseTemplate)]) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(path("/v2/"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path(LIST))
        .and(query_param_is_missing("last"))
        .respond_with(first)
        .mount(&server)
        .await;
    for (last, answer) in then {
        Mock::given(method("GET"))
            .and(path(LIST))
            .and(query_param("last", *last))
            .respond_with(answer.clone())
            .mount(&server)
            .await;
    }
    server
}

fn link(to: &str) -> String {
    format!("<{LIST}?last={to}&n=2>; rel=\"next\"")
}

#[tokio::test]
async fn links_are_followed_to_the_end() {
    let server = registry(
        page(&["a", "b"]).insert_header("link", link("b")),
        &[
            ("b", page(&["c", "d"]).insert_header("link", link("d"))),
            ("d", page(&["e"])),
        ],
    )
    .await;
    let tags = ask(&server.address().to_string()).await.unwrap();
    assert_eq!(tags.names, names(["a", "b", "c", "d", "e"]));
    assert_eq!(tags.pages, 3);
}

#[tokio::test]
async fn without_links_a_full_page_is_followed_by_what_comes_after_it() {
    let all: Vec<String> = (0..120).map(|n| format!("v{n:03}")).collect();
    let server = registry(
        page(&all[..50]),
        &[("v049", page(&all[50..100])), ("v099", page(&all[100..]))],
    )
    .await;
    let tags = ask(&server.address().to_string()).await.unwrap();
    assert_eq!(tags.names, names(all));
}

#[tokio::test]
async fn a_registry_that_always_gives_everything_is_asked_twice() {
    let all: Vec<String> = (0..60).map(|n| format!("v{n:03}")).collect();
    let server = registry(page(&all), &[("v059", page(&all))]).await;
    let tags = ask(&server.address().to_string()).await.unwrap();
    assert_eq!((tags.names, tags.pages), (names(all), 2));
}

#[tokio::test]
async fn none_and_unknown_are_told_apart() {
    for body in [r#"{"name":"demo/app","tags":null}"#, r#"{"tags":[]}"#] {
        let server = registry(ResponseTemplate::new(200).set_body_string(body), &[]).await;
        let tags = ask(&server.address().to_string()).await.unwrap();
        assert_eq!(tags.names, BTreeSet::new(), "{body}");
    }
    let server = registry(ResponseTemplate::new(404), &[]).await;
    let error = ask(&server.address().to_string()).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_list_that_breaks_off_is_an_error() {
    let more = || page(&["a", "b"]).insert_header("link", link("b"));
    let elsewhere = format!("<http://other.example{LIST}?last=b>; rel=\"next\"");
    let cases = [
        ("no second page", more(), ResponseTemplate::new(404)),
        ("trouble on the way", more(), ResponseTemplate::new(502)),
        (
            "half a page",
            more(),
            ResponseTemplate::new(200).set_body_string(r#"{"tags":["c","#),
        ),
        (
            "an error that says 200",
            more(),
            ResponseTemplate::new(200).set_body_string(r#"{"errors":[{"code":"DENIED"}]}"#),
        ),
        ("circles", more(), more()),
        (
            "another host",
            page(&["a", "b"]).insert_header("link", elsewhere.as_str()),
            page(&["c"]),
        ),
    ];
    for (what, first, second) in cases {
        let server = registry(first, &[("b", second)]).await;
        let error = ask(&server.address().to_string()).await.unwrap_err();
        assert!(
            matches!(error, Error::Incomplete { .. }),
            "{what}: {error:?}"
        );
    }
    // How long to stay away is kept.
    let limited = ResponseTemplate::new(429).insert_header("retry-after", "9");
    let server = registry(more(), &[("b", limited)]).await;
    let error = ask(&server.address().to_string()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(9)));
}

#[tokio::test]
async fn what_begins_wrong_is_no_list() {
    for body in ["", "{", "[]", r#"{"errors":[]}"#, r#"{"tags":[1]}"#] {
        let server = registry(ResponseTemplate::new(200).set_body_string(body), &[]).await;
        let error = ask(&server.address().to_string()).await.unwrap_err();
        assert!(matches!(error, Error::Other { .. }), "{body}: {error:?}");
    }
}

#[tokio::test]
async fn work_that_can_wait_leaves_a_registry_in_trouble_alone() {
    let server = registry(ResponseTemplate::new(503), &[]).await;
    let host = server.address().to_string();
    let repository = Repository::new(&host, "demo/app").unwrap();
    let ships = client(&host);
    let patient = ships.in_background();
    let error = patient.tags(&repository).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let asked = server.received_requests().await.unwrap().len();
    let error = patient.tags(&repository).await.unwrap_err();
    assert!(matches!(error, Error::Held { .. }), "{error:?}");
    assert!(error.retry_after().unwrap() > Duration::ZERO);
    assert_eq!(server.received_requests().await.unwrap().len(), asked);
    let error = ships.tags(&repository).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_real_registry_lists_every_tag() {
    let registry = windlass_testkit::Registry::start(&[]).await;
    let mut pushed = BTreeSet::new();
    for n in 0..60 {
        let tag = format!("v1.{n}.0");
        registry.push("demo/app", &tag, "same").await;
        pushed.insert(tag);
    }
    assert_eq!(ask(&registry.host).await.unwrap().names, pushed);
    let unknown = Repository::new(&registry.host, "demo/none").unwrap();
    let error = client(&registry.host).tags(&unknown).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
}
