//! Who may deliver.

use crate::support::{SECRET, Service, answer, config, digest, ghcr, signature};
use windlass_testkit::stores;

/// What it is, the path, and a header.
type Attempt<'a> = (&'a str, &'a str, Option<(&'a str, &'a str)>);

#[tokio::test]
async fn a_delivery_needs_the_endpoints_secret_in_one_of_three_ways() {
    for test in stores().await {
        let service = Service::start(&test.store).await;
        let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
        let good = signature(SECRET, &sent.body);
        let other = signature("another", &sent.body);
        let bearer = format!("Bearer {SECRET}");
        let path = format!("docker-registry/{SECRET}");
        let usual = "docker-registry";
        let signed = "x-hub-signature-256";
        let refused: Vec<Attempt<'_>> = vec![
            ("nothing", usual, None),
            ("by another secret", usual, Some((signed, &other))),
            ("cut short", usual, Some((signed, &good[..70]))),
            (
                "too long",
                usual,
                Some((
                    signed,
                    "sha256=0011223344556677889900112233445566778899001122334455667788990011223344",
                )),
            ),
            ("empty", usual, Some((signed, ""))),
            (
                "another token",
                usual,
                Some(("authorization", "Bearer something")),
            ),
            ("another path", "docker-registry/something", None),
            (
                "a bad signature, a good path",
                &path,
                Some((signed, &other)),
            ),
            ("a query", "docker-registry?secret=a-secret-of-tests", None),
        ];
        for (what, path, header) in refused {
            let mut request = sent.on(service.post(path));
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let (status, problem) = answer(request).await;
            assert_eq!(status, 401, "{what}: {problem}");
            assert!(!problem.to_string().contains(SECRET), "{what}: {problem}");
        }
        assert_eq!(
            service
                .count("SELECT COUNT(*) FROM webhook_deliveries")
                .await,
            0
        );
        let taken: Vec<Attempt<'_>> = vec![
            ("signed", usual, Some((signed, &good))),
            ("a token", usual, Some(("authorization", &bearer))),
            ("the path", &path, None),
        ];
        for (what, path, header) in taken {
            let mut request = sent.on(service.post(path));
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let (status, got) = answer(request).await;
            assert_eq!(status, 202, "{what}: {got}");
        }
        // All three were one delivery, and nothing of the secret is in what is kept of it.
        let (_, page) = service.get("deliveries").await;
        assert_eq!(page["items"][0]["received_count"], 3, "{page}");
        let id = page["items"][0]["delivery_id"].as_str().unwrap();
        let (_, detail) = service.get(&format!("deliveries/{id}")).await;
        assert!(!detail.to_string().contains(SECRET), "{detail}");
    }
}

#[tokio::test]
async fn a_signature_is_over_the_bytes_received() {
    let test = windlass_testkit::sqlite().await;
    let service = Service::start(&test.store).await;
    let sent = ghcr("package", "1", "v1", Some(&digest(1)), 1);
    let spaced = format!(" {}\n", sent.body);
    for (body, signed, expected) in [(&spaced, &sent.body, 401), (&spaced, &spaced, 202)] {
        let mut request = service.post("docker-registry");
        for (name, value) in &sent.headers {
            request = request.header(name, value);
        }
        let request = request.header("x-hub-signature-256", signature(SECRET, signed));
        let (status, got) = answer(request.body(body.clone())).await;
        assert_eq!(status, expected, "{got}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_configured_is_not_there() {
    let test = windlass_testkit::sqlite().await;
    let mut config = config();
    config.webhooks.endpoints.remove("docker-registry");
    let service = Service::start_with(&test.store, &config).await;
    let sent = ghcr("package", "1", "v1", None, 1);
    let (status, problem) = answer(sent.on(service.post("docker-registry"))).await;
    assert_eq!(status, 404);
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("webhooks.endpoints.docker-registry"),
        "{detail}"
    );
    for path in ["other", "other/secret"] {
        let (status, problem) = answer(sent.on(service.post(path))).await;
        assert_eq!(status, 404, "{problem}");
    }
    let (status, _) = service.get("docker-registry/test").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn an_endpoint_says_that_it_is_up() {
    let test = windlass_testkit::sqlite().await;
    let service = Service::start(&test.store).await;
    for (name, authenticated) in [("docker-registry", true), ("open", false)] {
        let url = format!("{}/{name}/test", service.url);
        let (status, got) = answer(service.client.get(url)).await;
        assert_eq!(status, 200, "{got}");
        assert_eq!(got["status"], "ready");
        assert_eq!(got["endpoint"], name);
        assert_eq!(got["authenticated"], authenticated);
    }
}
