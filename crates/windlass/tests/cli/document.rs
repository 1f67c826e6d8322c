//! That `windlass up` serves what the OpenAPI document promises, from whichever part it comes.

use crate::server::Server;
use serde_json::Value;
use std::collections::BTreeSet;

#[tokio::test]
async fn every_path_of_the_document_is_served_and_tells_the_methods_it_takes() {
    let server = Server::start();
    let http = windlass_testkit::http();
    let document: Value = http
        .get(format!("{}/api/v1/openapi.json", server.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/api/v1/webhooks/{endpoint}/{secret}"));
    for (path, item) in paths {
        let id = "018f0000-0000-7000-8000-000000000000";
        let sample = path
            .replace("{endpoint}", "docker-registry")
            .replace("{secret}", "secret")
            .replace("{digest}", &format!("sha256:{}", "a".repeat(64)))
            .replace("{id}", id)
            .replace("{uuid}", id);
        let url = format!("{}{sample}", server.url);
        let answer = http.request("TRACE".parse().unwrap(), url).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
        let allowed: BTreeSet<String> = answer.headers()["allow"]
            .to_str()
            .unwrap()
            .split(", ")
            .map(str::to_lowercase)
            .collect();
        let told: BTreeSet<String> = item.as_object().unwrap().keys().cloned().collect();
        assert_eq!(allowed, told, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["type"], "urn:windlass:problem:method-not-allowed");
    }
}
