//! Every case of every sender's table, over HTTP.

use crate::support::{NOBODY, Service, answer, config, open};
use serde_json::Value;
use windlass_service::config::EndpointSection;
use windlass_testkit::stores;
use windlass_webhook_ingest::senders::SENDERS;

#[tokio::test]
async fn each_case_is_answered_as_its_table_says() {
    for test in stores().await {
        let mut config = config();
        for sender in SENDERS {
            let settings = EndpointSection {
                // What has no digest is asked for; not at anybody's real registry.
                registry: Some(NOBODY.to_owned()),
                ..open(Some(sender.name))
            };
            let endpoints = &mut config.webhooks.endpoints;
            endpoints.insert(sender.name.to_owned(), settings);
            endpoints.insert(format!("{}-own", sender.name), open(Some(sender.name)));
        }
        let service = Service::start_with(&test.store, &config).await;
        let mut stored = 0;
        for sender in SENDERS {
            let path = format!("{}/cases/{}.json", env!("CARGO_MANIFEST_DIR"), sender.name);
            let cases: Vec<Value> =
                serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            for (number, case) in cases.iter().enumerate() {
                let what = format!("{}: {}", sender.name, case["name"]);
                let malformed = case.get("malformed");
                let own = if malformed.is_some() { "-own" } else { "" };
                let mut request = service.post(&format!("{}{own}", sender.name));
                for (name, value) in case["headers"].as_object().into_iter().flatten() {
                    // Many cases share an id; here each is a delivery of its own.
                    let value = match name.as_str() {
                        "x-github-delivery"
                        | "x-gitea-delivery"
                        | "x-forgejo-delivery"
                        | "x-nexus-webhook-delivery" => number.to_string(),
                        "content-type" => continue,
                        _ => value.as_str().unwrap().to_owned(),
                    };
                    request = request.header(name, value);
                }
                let body = format!("{}{}", case["body"], " ".repeat(number));
                let (status, got) = answer(request.body(body)).await;
                if let Some(part) = malformed {
                    assert_eq!(status, 400, "{what}: {got}");
                    let detail = got["detail"].as_str().unwrap();
                    assert!(detail.contains(part.as_str().unwrap()), "{what}: {detail}");
                    continue;
                }
                stored += 1;
                if let Some(handshake) = case.get("handshake") {
                    assert_eq!((status.as_u16(), &got), (200, handshake), "{what}");
                    continue;
                }
                assert_eq!(status, 202, "{what}: {got}");
                if let Some(reason) = case.get("ignored") {
                    assert_eq!(got["decision"], "ignored", "{what}: {got}");
                    assert_eq!(&got["reason_code"], reason, "{what}");
                    assert_eq!(got["images"].as_array().unwrap().len(), 0, "{what}");
                    continue;
                }
                assert!(got.get("reason_code").is_none(), "{what}: {got}");
                let expected = case["images"].as_array().unwrap();
                let images = got["images"].as_array().unwrap();
                assert_eq!(images.len(), expected.len(), "{what}: {got}");
                for (image, expected) in images.iter().zip(expected) {
                    assert_eq!(image["registry"], NOBODY, "{what}");
                    // Only Docker Hub itself has `library/` before names of one part.
                    let name = |image: &Value| {
                        let name = image["repository"].as_str().unwrap();
                        name.trim_start_matches("library/").to_owned()
                    };
                    assert_eq!(name(image), name(expected), "{what}");
                    for field in ["tag", "actor"] {
                        assert_eq!(image[field], expected[field], "{what}: {field}");
                    }
                    // A digest may be known from an earlier case of the same tag.
                    if !expected["digest"].is_null() {
                        assert_eq!(image["digest"], expected["digest"], "{what}");
                    }
                    let time = |image: &Value| {
                        image["pushed_at"]
                            .as_str()
                            .map(|text| text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
                    };
                    assert_eq!(time(image), time(expected), "{what}");
                }
            }
        }
        let rows = service
            .count("SELECT COUNT(*) FROM webhook_deliveries WHERE rejected IS NULL")
            .await;
        assert_eq!(
            rows, stored,
            "what is answered 2xx is stored, and nothing else but what cannot be read"
        );
    }
}
