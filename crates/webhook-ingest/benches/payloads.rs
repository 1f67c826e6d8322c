//! How long it takes to read one delivery of each sender: `cargo bench -p windlass-webhook-ingest`. To be
//! compared with themselves only.
#![allow(
    clippy::unwrap_used,
    reason = "what is measured is built here and is known to be right"
)]

use divan::{Bencher, black_box};
use serde_json::Value;
use std::collections::BTreeMap;
use windlass_webhook_ingest::senders;

const DOCKER_HUB: &str = include_str!("../cases/docker_hub.json");
const GHCR: &str = include_str!("../cases/ghcr.json");
const DISTRIBUTION: &str = include_str!("../cases/distribution.json");
const HARBOR: &str = include_str!("../cases/harbor.json");
const GENERIC: &str = include_str!("../cases/generic.json");

fn main() {
    divan::main();
}

#[divan::bench(args = ["docker_hub", "ghcr", "distribution", "harbor", "generic"])]
fn delivery_read(bencher: Bencher<'_, '_>, name: &str) {
    let table = match name {
        "docker_hub" => DOCKER_HUB,
        "ghcr" => GHCR,
        "distribution" => DISTRIBUTION,
        "harbor" => HARBOR,
        _ => GENERIC,
    };
    // The first of the table, with its headers, as it comes over the wire.
    let cases: Vec<Value> = serde_json::from_str(table).unwrap();
    let case = cases.first().unwrap();
    let headers: BTreeMap<String, String> = case
        .get("headers")
        .map(|headers| serde_json::from_value(headers.clone()).unwrap())
        .unwrap_or_default();
    let body = serde_json::to_vec(case.get("body").unwrap()).unwrap();
    bencher.bench(|| {
        let body: Value = serde_json::from_slice(black_box(&body)).unwrap();
        senders::read(&headers, &body, None, None).is_ok()
    });
}
