//! Who is let in with what, and who is given nothing.
#![expect(clippy::unwrap_used, reason = "tests are to fail loudly")]

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;
use windlass_registry::{Credentials, Error, Options, Registry};
use windlass_types::image::{Digest, Repository};
use wiremock::matchers::{
    basic_auth, body_string_contains, header, header_exists, method, path, path_regex,
};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn install_tls() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}

fn digest(n: u8) -> Digest {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
        .parse()
        .unwrap()
}

fn options(hosts: &[&str]) -> Options {
    Options {
        http_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        timeout: Some(Duration::from_secs(5)),
        ..Options::default()
    }
}

fn robot(password: &str) -> Credentials {
    Credentials {
        user: "robot".to_owned(),
        password: password.to_owned(),
    }
}

fn found() -> ResponseTemplate {
    ResponseTemplate::new(200).insert_header("docker-content-digest", digest(1).as_str())
}

/// A registry whose door asks for a token of this server.
async fn asks_for_a_token(realm: &str) -> MockServer {
    let server = MockServer::start().await;
    let challenge = format!("Bearer realm=\"{realm}/token\",service=\"r\"");
    Mock::given(path("/v2/"))
        .respond_with(
            ResponseTemplate::new(401).insert_header("www-authenticate", challenge.as_str()),
        )
        .mount(&server)
        .await;
    Mock::given(method("HEAD"))
        .and(header("authorization", "Bearer good"))
        .respond_with(found())
        .mount(&server)
        .await;
    Mock::given(method("HEAD"))
        .respond_with(
            ResponseTemplate::new(401).insert_header("www-authenticate", challenge.as_str()),
        )
        .mount(&server)
        .await;
    server
}

async fn gives(server: &MockServer, token: &str, times: u64) {
    Mock::given(method("GET"))
        .and(path("/token"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_json(serde_json::json!({"token": token, "expires_in": 300})),
        )
        .up_to_n_times(times)
        .mount(server)
        .await;
}

#[tokio::test]
async fn many_questions_at_once_get_one_token() {
    let tokens = MockServer::start().await;
    gives(&tokens, "good", 100).await;
    let server = asks_for_a_token(&tokens.uri()).await;
    let host = server.address().to_string();
    install_tls();
    let registry = Registry::new(options(&[&host, &tokens.address().to_string()])).unwrap();
    let repository = Repository::new(&host, "demo/app").unwrap();
    let asked = (0..20).map(|_| registry.digest(&repository, "v1"));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.unwrap(), digest(1));
    }
    assert_eq!(tokens.received_requests().await.unwrap().len(), 1);
    // Another repository is another scope.
    let other = Repository::new(&host, "demo/other").unwrap();
    registry.digest(&other, "v1").await.unwrap();
    assert_eq!(tokens.received_requests().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_token_that_is_refused_is_got_anew_once() {
    let tokens = MockServer::start().await;
    gives(&tokens, "stale", 1).await;
    gives(&tokens, "good", 100).await;
    let server = asks_for_a_token(&tokens.uri()).await;
    let host = server.address().to_string();
    install_tls();
    let registry = Registry::new(options(&[&host, &tokens.address().to_string()])).unwrap();
    let repository = Repository::new(&host, "demo/app").unwrap();
    let answer = registry.digest(&repository, "v1").await;
    assert_eq!(answer.unwrap(), digest(1));
}

#[tokio::test]
async fn nothing_is_asked_of_a_token_server_without_tls() {
    let tokens = MockServer::start().await;
    gives(&tokens, "good", 100).await;
    let server = asks_for_a_token(&tokens.uri()).await;
    let host = server.address().to_string();
    install_tls();
    let registry = Registry::new(Options {
        credentials: [(host.clone(), robot("secret"))].into(),
        ..options(&[&host])
    })
    .unwrap();
    let repository = Repository::new(&host, "demo/app").unwrap();
    let error = registry.digest(&repository, "v1").await.unwrap_err();
    assert!(error.to_string().contains("registry.http_hosts"), "{error}");
    assert_eq!(tokens.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn an_identity_token_is_traded_for_an_access_token() {
    let server = MockServer::start().await;
    let host = server.address().to_string();
    let challenge = format!("Bearer realm=\"{}/token\",service=\"r\"", server.uri());
    Mock::given(path("/v2/"))
        .respond_with(
            ResponseTemplate::new(401).insert_header("www-authenticate", challenge.as_str()),
        )
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/token"))
        .and(body_string_contains("grant_type=refresh_token"))
        .and(body_string_contains("refresh_token=ref%2Fresh"))
        .and(body_string_contains("scope=repository%3Ademo%2Fapp%3Apull"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(serde_json::json!({"access_token": "good"})),
        )
        .mount(&server)
        .await;
    Mock::given(method("HEAD"))
        .and(header("authorization", "Bearer good"))
        .respond_with(found())
        .mount(&server)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let text = serde_json::json!({"auths": {&host: {"identitytoken": "ref/resh"}}});
    std::fs::write(&config, text.to_string()).unwrap();
    install_tls();
    let registry = Registry::new(Options {
        docker_config: Some(config),
        ..options(&[&host])
    })
    .unwrap();
    let repository = Repository::new(&host, "demo/app").unwrap();
    assert_eq!(registry.digest(&repository, "v1").await.unwrap(), digest(1));
}

#[tokio::test]
async fn what_lets_us_in_does_not_follow_a_redirect_to_another_host() {
    let store = MockServer::start().await;
    Mock::given(method("GET"))
        .respond_with(ResponseTemplate::new(200).set_body_bytes("{}"))
        .mount(&store)
        .await;
    let server = MockServer::start().await;
    Mock::given(path("/v2/"))
        .respond_with(
            ResponseTemplate::new(401).insert_header("www-authenticate", "Basic realm=\"r\""),
        )
        .mount(&server)
        .await;
    let target = format!("{}/store?signature=x", store.uri());
    Mock::given(path_regex("^/v2/demo/app/blobs/"))
        .and(basic_auth("robot", "secret"))
        .respond_with(ResponseTemplate::new(307).insert_header("location", target.as_str()))
        .mount(&server)
        .await;
    let host = server.address().to_string();
    let store_host = store.address().to_string();
    let blob: Digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        .parse()
        .unwrap();
    let repository = Repository::new(&host, "demo/app").unwrap();
    install_tls();
    let with = |hosts: &[&str]| {
        Registry::new(Options {
            credentials: [(host.clone(), robot("secret"))].into(),
            ..options(hosts)
        })
        .unwrap()
    };
    let bytes = with(&[&host, &store_host])
        .blob(&repository, &blob, 1024)
        .await;
    assert_eq!(bytes.unwrap(), b"{}");
    let got = store.received_requests().await.unwrap();
    assert_eq!(got.len(), 1);
    assert!(!got[0].headers.contains_key("authorization"));
    // Nor is it followed to where there is no TLS.
    let error = with(&[&host])
        .blob(&repository, &blob, 1024)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("without TLS"), "{error}");
    assert_eq!(store.received_requests().await.unwrap().len(), 1);
    // What came is checked, and bounded.
    let error = with(&[&host, &store_host])
        .blob(&repository, &digest(9), 1024)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    let error = with(&[&host, &store_host])
        .blob(&repository, &blob, 1)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Other { .. }), "{error:?}");
}

#[tokio::test]
async fn a_host_is_given_only_its_own_credentials() {
    let server = MockServer::start().await;
    Mock::given(path("/v2/"))
        .respond_with(
            ResponseTemplate::new(401).insert_header("www-authenticate", "Basic realm=\"r\""),
        )
        .mount(&server)
        .await;
    Mock::given(header_exists("authorization"))
        .respond_with(found())
        .mount(&server)
        .await;
    Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(401))
        .mount(&server)
        .await;
    let host = server.address().to_string();
    install_tls();
    let registry = Registry::new(Options {
        credentials: [("docker.io".to_owned(), robot("secret"))].into(),
        ..options(&[&host])
    })
    .unwrap();
    let repository = Repository::new(&host, "demo/app").unwrap();
    let error = registry.digest(&repository, "v1").await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
}

#[tokio::test]
async fn a_credential_helper_runs_only_where_it_is_allowed() {
    let server = MockServer::start().await;
    let host = server.address().to_string();
    Mock::given(path("/v2/"))
        .respond_with(
            ResponseTemplate::new(401).insert_header("www-authenticate", "Basic realm=\"r\""),
        )
        .mount(&server)
        .await;
    Mock::given(basic_auth("AWS", "from-the-helper"))
        .respond_with(found())
        .mount(&server)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-windlass-test");
    std::fs::write(
        &helper,
        "#!/bin/sh\nread -r server\n[ \"$1\" = get ] && printf \
         '{\"ServerURL\":\"%s\",\"Username\":\"AWS\",\"Secret\":\"from-the-helper\"}' \"$server\"\n",
    )
    .unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = folder.path().join("config.json");
    let text = serde_json::json!({"credHelpers": {&host: "windlass-test"}});
    std::fs::write(&config, text.to_string()).unwrap();
    install_tls();
    let ask = async |allowed: &[&str]| {
        let registry = Registry::new(Options {
            docker_config: Some(config.clone()),
            credential_helpers: allowed.iter().map(|name| (*name).to_owned()).collect(),
            helper_folder: Some(folder.path().to_owned()),
            ..options(&[&host])
        })
        .unwrap();
        let repository = Repository::new(&host, "demo/app").unwrap();
        registry.digest(&repository, "v1").await
    };
    assert_eq!(ask(&["windlass-test"]).await.unwrap(), digest(1));
    let error = ask(&[]).await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
    // One that fails, and one that is not there.
    std::fs::write(&helper, "#!/bin/sh\necho broken\nexit 1\n").unwrap();
    let error = ask(&["windlass-test"]).await.unwrap_err();
    assert!(error.to_string().contains("failed with"), "{error}");
    assert!(!error.to_string().contains("broken"), "{error}");
    std::fs::remove_file(&helper).unwrap();
    let error = ask(&["windlass-test"]).await.unwrap_err();
    assert!(error.to_string().contains("cannot be run"), "{error}");
}
