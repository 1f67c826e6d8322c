//! Tags resolved at a stand-in that refuses in every way, and at a real registry.
#![expect(clippy::unwrap_used, reason = "tests are to fail loudly")]

use std::time::Duration;
use windlass_registry::{Credentials, Error, Options, Registry};
use windlass_types::image::{Digest, Repository};
use wiremock::matchers::{basic_auth, header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
        .parse()
        .unwrap()
}

fn install_tls() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}

fn host(server: &MockServer) -> String {
    server.address().to_string()
}

fn options(host: &str) -> Options {
    Options {
        http_hosts: [host.to_owned()].into(),
        timeout: Some(Duration::from_secs(5)),
        ..Options::default()
    }
}

async fn ask(host: &str, options: Options) -> Result<Digest, Error> {
    install_tls();
    let repository = Repository::new(host, "demo/app").unwrap();
    Registry::new(options)
        .unwrap()
        .digest(&repository, "v1")
        .await
}

/// A registry without authentication.
async fn open_registry() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/v2/"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&server)
        .await;
    server
}

async fn answers_head(server: &MockServer, answer: ResponseTemplate) {
    Mock::given(method("HEAD"))
        .and(path("/v2/demo/app/manifests/v1"))
        .respond_with(answer)
        .mount(server)
        .await;
}

#[tokio::test]
async fn the_digest_comes_from_the_header_of_a_head_request_that_takes_indices() {
    let server = open_registry().await;
    Mock::given(method("HEAD"))
        .and(path("/v2/demo/app/manifests/v1"))
        .and(header_exists("accept"))
        .respond_with(|request: &wiremock::Request| {
            let accept = request.headers["accept"].to_str().unwrap();
            let takes_both = accept.contains("application/vnd.oci.image.index.v1+json")
                && accept.contains("manifest.list.v2+json");
            ResponseTemplate::new(if takes_both { 200 } else { 404 })
                .insert_header("docker-content-digest", digest(1).as_str())
        })
        .expect(1)
        .mount(&server)
        .await;
    let host = host(&server);
    assert_eq!(ask(&host, options(&host)).await.unwrap(), digest(1));
}

#[tokio::test]
async fn without_the_header_the_digest_is_that_of_the_bytes() {
    let server = open_registry().await;
    answers_head(&server, ResponseTemplate::new(200)).await;
    Mock::given(method("GET"))
        .and(path("/v2/demo/app/manifests/v1"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes("{}"))
        .mount(&server)
        .await;
    let host = host(&server);
    assert_eq!(
        ask(&host, options(&host)).await.unwrap().as_str(),
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
}

#[tokio::test]
async fn each_refusal_is_told_apart() {
    let wait = Some(Duration::from_secs(7));
    type Check = fn(&Error) -> bool;
    let cases: Vec<(&str, ResponseTemplate, Check)> = vec![
        ("404", ResponseTemplate::new(404), |e| {
            matches!(e, Error::NotFound { .. })
        }),
        ("401", ResponseTemplate::new(401), |e| {
            matches!(e, Error::Unauthorized { .. })
        }),
        ("403", ResponseTemplate::new(403), |e| {
            matches!(e, Error::Unauthorized { .. })
        }),
        (
            "429 with a time",
            ResponseTemplate::new(429).insert_header("retry-after", "7"),
            |e| matches!(e, Error::RateLimited { retry_after: Some(t), .. } if t.as_secs() == 7),
        ),
        (
            "429 with a date",
            ResponseTemplate::new(429)
                .insert_header("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
            |e| {
                matches!(
                    e,
                    Error::RateLimited {
                        retry_after: None,
                        ..
                    }
                )
            },
        ),
        (
            "503 with a time",
            ResponseTemplate::new(503).insert_header("retry-after", "7"),
            |e| matches!(e, Error::Unreachable { .. }) && e.retry_after().is_some(),
        ),
        ("500", ResponseTemplate::new(500), |e| {
            matches!(e, Error::Unreachable { .. })
        }),
        ("406", ResponseTemplate::new(406), |e| {
            matches!(e, Error::Other { .. })
        }),
        (
            "a digest of another kind",
            ResponseTemplate::new(200).insert_header("docker-content-digest", "sha512:00"),
            |e| matches!(e, Error::Other { .. }),
        ),
    ];
    for (what, answer, check) in cases {
        let server = open_registry().await;
        answers_head(&server, answer).await;
        let host = host(&server);
        let error = ask(&host, options(&host)).await.unwrap_err();
        assert!(check(&error), "{what}: {error:?}");
        assert!(error.to_string().contains("demo/app:v1"), "{what}: {error}");
        if what.contains("with a time") {
            assert_eq!(error.retry_after(), wait, "{what}");
        }
    }
}

#[tokio::test]
async fn a_silent_registry_and_no_registry_are_unreachable() {
    let server = open_registry().await;
    answers_head(
        &server,
        ResponseTemplate::new(200).set_delay(Duration::from_secs(60)),
    )
    .await;
    let host = host(&server);
    let short = Options {
        timeout: Some(Duration::from_millis(200)),
        ..options(&host)
    };
    let error = ask(&host, short).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let nobody = format!("127.0.0.1:{}", windlass_testkit::free_port());
    let error = ask(&nobody, options(&nobody)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(error.kind(), "unreachable");
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_not_asked_without_tls() {
    let server = open_registry().await;
    let host = host(&server);
    let error = ask(&host, Options::default()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

fn with_credentials(host: &str, password: &str) -> Options {
    let known = Credentials {
        user: "robot".to_owned(),
        password: password.to_owned(),
    };
    Options {
        credentials: [(host.to_owned(), known)].into(),
        ..options(host)
    }
}

#[tokio::test]
async fn a_token_is_got_with_the_hosts_own_credentials() {
    let server = MockServer::start().await;
    let host = host(&server);
    let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"{host}\"");
    Mock::given(method("GET"))
        .and(path("/v2/"))
        .respond_with(ResponseTemplate::new(401).insert_header("www-authenticate", challenge))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path("/token"))
        .and(query_param("scope", "repository:demo/app:pull"))
        .and(basic_auth("robot", "right"))
        .respond_with(ResponseTemplate::new(200).set_body_string(r#"{"token":"t0k3n"}"#))
        .mount(&server)
        .await;
    Mock::given(path("/token"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&server)
        .await;
    Mock::given(method("HEAD"))
        .and(header("authorization", "Bearer t0k3n"))
        .respond_with(
            ResponseTemplate::new(200).insert_header("docker-content-digest", digest(2).as_str()),
        )
        .mount(&server)
        .await;
    let right = ask(&host, with_credentials(&host, "right")).await;
    assert_eq!(right.unwrap(), digest(2));
    let wrong = ask(&host, with_credentials(&host, "wrong"))
        .await
        .unwrap_err();
    assert!(matches!(wrong, Error::Unauthorized { .. }), "{wrong:?}");
    let nobody = ask(&host, options(&host)).await.unwrap_err();
    assert!(matches!(nobody, Error::Unauthorized { .. }), "{nobody:?}");
}

#[tokio::test]
async fn basic_credentials_are_sent_where_no_token_is_offered() {
    let server = MockServer::start().await;
    let host = host(&server);
    Mock::given(method("GET"))
        .and(path("/v2/"))
        .respond_with(
            ResponseTemplate::new(401).insert_header("www-authenticate", "Basic realm=\"r\""),
        )
        .mount(&server)
        .await;
    Mock::given(method("HEAD"))
        .and(basic_auth("robot", "right"))
        .respond_with(
            ResponseTemplate::new(200).insert_header("docker-content-digest", digest(3).as_str()),
        )
        .mount(&server)
        .await;
    Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&server)
        .await;
    let right = ask(&host, with_credentials(&host, "right")).await;
    assert_eq!(right.unwrap(), digest(3));
    let wrong = ask(&host, with_credentials(&host, "wrong"))
        .await
        .unwrap_err();
    assert!(matches!(wrong, Error::Unauthorized { .. }), "{wrong:?}");
    let shown = format!("{:?}", with_credentials(&host, "right"));
    assert!(!shown.contains("right"), "a password is not shown: {shown}");
}

#[tokio::test]
async fn a_real_registry_tells_what_was_pushed_and_what_was_not() {
    let registry = windlass_testkit::Registry::start(&[]).await;
    let pushed = registry.push("demo/app", "v1", "first").await;
    let host = registry.host.clone();
    let told = ask(&host, options(&host)).await.unwrap();
    assert_eq!(told.as_str(), pushed);
    let moved = registry.push("demo/app", "v1", "second").await;
    let told = ask(&host, options(&host)).await.unwrap();
    assert_eq!(told.as_str(), moved);
    let client = Registry::new(options(&host)).unwrap();
    for (repository, tag) in [("demo/app", "v9"), ("demo/none", "v1")] {
        let repository = Repository::new(&host, repository).unwrap();
        let error = client.digest(&repository, tag).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    }
}
