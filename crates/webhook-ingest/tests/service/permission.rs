//! Senders of CloudEvents that ask for leave.

use crate::support::{SECRET, Service, config};
use reqwest::{Method, Response};
use windlass_service::config::EndpointSection;

async fn ask(service: &Service, path: &str, headers: &[(&str, &str)]) -> Response {
    let url = format!("{}/{path}", service.url);
    let mut request = service.client.request(Method::OPTIONS, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn leave_is_given_to_the_origins_that_are_named() {
    let test = windlass_testkit::sqlite().await;
    let mut config = config();
    config.webhooks.requests_per_minute = 120;
    let with = |origins: &[&str]| EndpointSection {
        secret: Some(SECRET.to_owned()),
        origins: origins.iter().map(|&origin| origin.to_owned()).collect(),
        ..EndpointSection::default()
    };
    let endpoints = &mut config.webhooks.endpoints;
    endpoints.insert("grid".to_owned(), with(&["eventgrid.azure.net"]));
    endpoints.insert("any".to_owned(), with(&["*"]));
    endpoints.insert("closed".to_owned(), with(&[]));
    let service = Service::start_with(&test.store, &config).await;
    let origin = ("webhook-request-origin", "EventGrid.azure.net");
    let good = format!("grid/{SECRET}");
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16, Option<&'a str>);
    let cases: Vec<Case<'_>> = vec![
        ("grid", vec![origin], 200, Some("120")),
        (&good, vec![origin], 200, Some("120")),
        (
            "grid",
            vec![origin, ("webhook-request-rate", "60")],
            200,
            Some("60"),
        ),
        (
            "grid",
            vec![origin, ("webhook-request-rate", "9999")],
            200,
            Some("120"),
        ),
        (
            "any",
            vec![("webhook-request-origin", "x.example")],
            200,
            Some("120"),
        ),
        ("grid/another", vec![origin], 401, None),
        (
            "grid",
            vec![("webhook-request-origin", "evil.example")],
            403,
            None,
        ),
        ("closed", vec![origin], 403, None),
        ("docker-registry", vec![origin], 403, None),
        ("grid", vec![], 405, None),
        ("nowhere", vec![origin], 404, None),
    ];
    for (path, headers, status, rate) in cases {
        let response = ask(&service, path, &headers).await;
        assert_eq!(response.status(), status, "{path} {headers:?}");
        let told = |name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        assert_eq!(told("webhook-allowed-rate"), rate, "{path} {headers:?}");
        let expected = rate.map(|_| headers[0].1);
        assert_eq!(
            told("webhook-allowed-origin"),
            expected,
            "{path} {headers:?}"
        );
    }
}
