//! How the time that parsers take grows with what they are given: a look by eye, no test, because times on a busy
//! machine prove nothing.
//!
//!     cargo run -p windlass-webhook-ingest --example timing
//!
//! Every delivery of every table is made larger in several ways, each to so many times its size, and read. Printed
//! are the worst of each way: the time for a byte at the largest size through that at the smallest. About 1 is linear
//! growth; the sizes are 16 apart, so quadratic growth would show as 16.
#![allow(clippy::print_stdout, reason = "it is there to be looked at")]

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};
use windlass_webhook_ingest::senders::{self, SENDERS};

const CASES: [(&str, &str); 13] = [
    ("acr", include_str!("../cases/acr.json")),
    ("aliyun", include_str!("../cases/aliyun.json")),
    (
        "artifact_registry",
        include_str!("../cases/artifact_registry.json"),
    ),
    ("artifactory", include_str!("../cases/artifactory.json")),
    ("distribution", include_str!("../cases/distribution.json")),
    ("docker_hub", include_str!("../cases/docker_hub.json")),
    ("ecr", include_str!("../cases/ecr.json")),
    ("generic", include_str!("../cases/generic.json")),
    ("ghcr", include_str!("../cases/ghcr.json")),
    ("gitea", include_str!("../cases/gitea.json")),
    ("harbor", include_str!("../cases/harbor.json")),
    ("nexus", include_str!("../cases/nexus.json")),
    ("quay", include_str!("../cases/quay.json")),
];
/// Times a delivery is made larger: at least and at most, which is still below the limit of a body.
const SIZES: [usize; 2] = [64, 1024];
/// Below this a clock says nothing.
const LEAST: Duration = Duration::from_micros(50);

/// A way to make a delivery larger.
type Grow = fn(&Value, usize) -> Value;
const WAYS: [(&str, Grow); 5] = [
    ("each text repeated", |body, times| {
        texts(body, &|text| text.repeat(times))
    }),
    ("each text with slashes", |body, times| {
        texts(body, &|text| format!("{text}{}", "/a".repeat(times * 4)))
    }),
    ("each text with colons and digits", |body, times| {
        texts(body, &|text| format!("{text}{}", ":1.".repeat(times * 4)))
    }),
    ("each list repeated", lists),
    ("each object with more names", names),
];

fn texts(body: &Value, change: &dyn Fn(&str) -> String) -> Value {
    match body {
        Value::String(text) => Value::String(change(text)),
        Value::Array(all) => all.iter().map(|one| texts(one, change)).collect(),
        Value::Object(all) => all
            .iter()
            .map(|(name, one)| (name.clone(), texts(one, change)))
            .collect(),
        other => other.clone(),
    }
}

/// The outermost lists alone: within each other they would grow by a power.
fn lists(body: &Value, times: usize) -> Value {
    match body {
        Value::Array(all) => all
            .iter()
            .cycle()
            .take(all.len() * times)
            .cloned()
            .collect(),
        Value::Object(all) => all
            .iter()
            .map(|(name, one)| (name.clone(), lists(one, times)))
            .collect(),
        other => other.clone(),
    }
}

fn names(body: &Value, times: usize) -> Value {
    match body {
        Value::Object(all) => {
            let own = all
                .iter()
                .map(|(name, one)| (name.clone(), names(one, times)));
            let more = (0..times).map(|n| (format!("more_{n}"), Value::from(n)));
            own.chain(more).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// The time it takes to parse and read a body, as JSON and as what it says, for each sender and for whom it looks like.
fn took(headers: &BTreeMap<String, String>, body: &str) -> Duration {
    let read = |sender| {
        let begun = Instant::now();
        let parsed: Value = serde_json::from_str(body).unwrap_or_default();
        black_box(senders::read(headers, &parsed, None, sender).is_ok());
        begun.elapsed()
    };
    let once = || {
        SENDERS
            .iter()
            .map(Some)
            .chain([None])
            .map(read)
            .sum::<Duration>()
    };
    // The quickest of some: the rest is the machine's other work.
    (0..3).map(|_| once()).min().unwrap_or_default()
}

fn main() {
    for (way, grow) in WAYS {
        let mut worst = (0.0, String::new());
        for (sender, cases) in CASES {
            let cases: Vec<Value> = serde_json::from_str(cases).unwrap_or_default();
            for (number, case) in cases.iter().enumerate() {
                let headers = case["headers"].as_object().into_iter().flatten();
                let headers = headers
                    .map(|(name, value)| {
                        (name.clone(), value.as_str().unwrap_or_default().to_owned())
                    })
                    .collect();
                let [small, large] = SIZES.map(|times| {
                    let body = grow(&case["body"], times).to_string();
                    (took(&headers, &body), body.len())
                });
                if large.0 < LEAST {
                    continue;
                }
                let each = |(time, bytes): (Duration, usize)| time.as_secs_f64() / bytes as f64;
                let ratio = each(large) / each(small);
                if ratio > worst.0 {
                    let text = format!(
                        "{sender} case {number}: {} bytes in {:?}, {} bytes in {:?}",
                        small.1, small.0, large.1, large.0
                    );
                    worst = (ratio, text);
                }
            }
        }
        println!("{way}: {:.1} ({})", worst.0, worst.1);
    }
}
