use crate::harness::apis;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.insert(target.clone());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// Schemas that are parts of larger ones.
fn parts(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(items)) = map.get("allOf") {
                found.extend(items.iter().cloned());
            }
            map.values().for_each(|value| parts(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| parts(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn no_part_of_a_schema_refuses_the_fields_of_the_others() {
    let api = crate::harness::start(windlass_testkit::sqlite().await).await;
    let document = api.get("/openapi.json").await.body;
    let mut found = Vec::new();
    parts(&document, &mut found);
    assert!(!found.is_empty());
    for part in found {
        let target = part["$ref"]
            .as_str()
            .and_then(|target| target.strip_prefix('#'));
        let part = target.map_or(&part, |target| document.pointer(target).unwrap());
        assert_eq!(part.get("additionalProperties"), None, "{part}");
    }
}

#[tokio::test]
async fn the_document_is_whole_and_needs_no_key() {
    for api in apis().await {
        let url = format!("{}/api/v1/openapi.json", api.base);
        let document: Value = windlass_testkit::http()
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for target in found {
            let pointer = target.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{target} is not there");
        }
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{id} is there twice");
                for (status, response) in operation["responses"].as_object().unwrap() {
                    if status.as_str() >= "400" {
                        let schema = &response["content"]["application/problem+json"]["schema"];
                        assert_eq!(
                            schema["$ref"], "#/components/schemas/ProblemBody",
                            "{method} {path} {status}"
                        );
                    }
                }
                let open = json!({});
                let guarded = operation["security"]
                    .as_array()
                    .is_some_and(|ways| !ways.is_empty() && !ways.contains(&open));
                // Endpoints of webhooks look after themselves.
                let tries_out = path.ends_with("/{endpoint}/test") && method == "post";
                let is_open =
                    path.ends_with("openapi.json") || (path.contains("{endpoint}") && !tries_out);
                assert_eq!(guarded, !is_open, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_path_asks_for_a_key_before_all_else_and_names_its_methods() {
    for api in apis().await {
        let document = api.get("/openapi.json").await.body;
        let http = windlass_testkit::http();
        for (path, item) in document["paths"].as_object().unwrap() {
            let sample = path
                .replace("{digest}", &crate::harness::digest('a'))
                .replace("{id}", "018f0000-0000-7000-8000-000000000000")
                .replace("{uuid}", "018f0000-0000-7000-8000-000000000000");
            let url = format!("{}{sample}", api.base);
            let item = item.as_object().unwrap();
            if path.starts_with("/api/v1/webhooks/") || path == "/api/v1/registry-watch" {
                // Another service's: told of here, and not taken from it where both share a listener.
                let elsewhere = api.send(http.request("TRACE".parse().unwrap(), &url)).await;
                assert_eq!(elsewhere.status, 404, "{path}");
                continue;
            }
            for (method, operation) in item {
                if !operation["security"][0].is_object() {
                    continue;
                }
                let method: reqwest::Method = method.to_uppercase().parse().unwrap();
                // Whatever else is wrong with it, a request without a good key is told of that alone.
                for key in ["", "Bearer nobodys"] {
                    for (kind, body) in [
                        ("application/json", "{}"),
                        ("application/json", "{\"reason\": 7"),
                        ("text/plain", "hello"),
                    ] {
                        let request = http
                            .request(method.clone(), format!("{url}?odd=1"))
                            .header("authorization", key)
                            .header("content-type", kind)
                            .body(body);
                        let answer = api.send(request).await;
                        let unknown_device =
                            !key.is_empty() && path.starts_with("/api/v1/device/{uuid}");
                        let expected = if unknown_device { 404 } else { 401 };
                        assert_eq!(answer.status, expected, "{method} {path} {key} {answer:?}");
                    }
                }
            }
            let odd = api.send(http.request("TRACE".parse().unwrap(), &url)).await;
            assert_eq!(
                (odd.status, odd.problem()),
                (405, "method-not-allowed"),
                "{path}"
            );
            for method in item.keys() {
                let allowed = odd.header("allow");
                assert!(
                    allowed.contains(&method.to_uppercase()),
                    "{path}: {allowed}"
                );
            }
        }
        let none = api.get("/nothing-here").await;
        assert_eq!((none.status, none.problem()), (404, "not-found"));
        let bare = http.get(format!("{}/api/v1/devices", api.base));
        let answer = api.send(bare).await;
        assert_eq!((answer.status, answer.problem()), (401, "unauthorized"));
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}
