//! The examples of docs/choosing-a-strategy.md: each is taken by a server, and does what the page says.

use crate::scene::Scene;
use crate::tier::Tier;
use serde_json::{Value, json};
use std::sync::Arc;

const PAGE: &str = include_str!("../../../../docs/choosing-a-strategy.md");
const IMAGE: &str = "registry.example:5000/shop/till";

/// Every block of JSON on the page.
fn examples() -> Vec<Value> {
    let blocks = PAGE.split("```json\n").skip(1);
    blocks
        .map(|block| {
            let text = block.split("```").next().unwrap();
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
        })
        .collect()
}

/// How many batches each example makes of eight devices: shares that come to the same number of
/// devices as those before make none of their own.
const BATCHES: &[(&str, usize)] = &[
    ("lab: all at once", 1),
    ("lab: all, twenty at a time", 1),
    ("shops: in stages", 3),
    ("shops: a share of every region, never both of a site", 2),
    ("shops: the friendly ones first", 2),
    ("clinics: four eyes", 3),
    ("clinics: a yes for each batch", 3),
    ("hotels: at night, where they are", 3),
    ("kiosks: which sells more", 2),
    ("shops: healthy means that it answers", 3),
    ("meters: each model for itself", 3),
];

pub(crate) async fn every_example_of_the_page_is_taken_and_planned(tier: Arc<Tier>) {
    let examples = examples();
    let mut fleets = Vec::new();
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    for fleet in ["lab", "shops", "clinics", "hotels", "kiosks", "meters"] {
        let ring = |index: usize| {
            json!({"ring": if index < 2 { "early" } else { "late" }, "site": format!("s{}", index / 2),
                   "region": if index < 4 { "north" } else { "south" }})
        };
        let scene = Scene::tagged(&tier, fleet, 8, |_, device| device, ring).await;
        let old = format!("{IMAGE}:1.0.0@{}", digest("1"));
        scene.install(&scene.uuids, &old).await;
        fleets.push(scene);
    }
    let mut found = Vec::new();
    for example in &examples {
        let made = tier.ann.post("/image-policies", example).await;
        let mut rule = example.clone();
        let fields = rule.as_object_mut().unwrap();
        for name in ["name", "image", "tag", "filters"] {
            fields.remove(name);
        }
        let asked = json!({"image": format!("{IMAGE}:1.1.0@{}", digest("2")), "rule": rule,
                           "filters": example["filters"], "reason": "a look", "dry_run": true});
        let plan = tier.ann.post("/images/trigger-update", &asked).await;
        assert_eq!(plan["total_devices"], 8, "{made:#}\n{plan:#}");
        let name = example["name"].as_str().unwrap();
        found.push((name, plan["batches"].as_array().unwrap().len()));
    }
    assert_eq!(found, BATCHES);
}
