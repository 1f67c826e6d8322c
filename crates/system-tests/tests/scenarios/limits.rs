//! How many devices are on their way at once.

use crate::scene::Scene;
use crate::strategies::time;
use crate::tier::Tier;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::sync::Arc;

/// How many of these devices were on their way at the same time at most.
fn at_once<'a>(rows: impl Iterator<Item = &'a Value>) -> i64 {
    let mut changes: Vec<(DateTime<Utc>, i64)> = rows
        .flat_map(|row| {
            [
                (time(&row["admitted_at"]), 1),
                (time(&row["judged_at"]), -1),
            ]
        })
        .collect();
    // At the same moment, those who are done make room first.
    changes.sort_unstable();
    let mut now = 0;
    let counts = changes.into_iter().map(|(_, change)| {
        now += change;
        now
    });
    counts.max().unwrap_or(0)
}

pub(crate) async fn no_more_devices_are_on_their_way_than_the_limit(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "in-flight", 6, |_, device| device).await;
    scene.policy(json!({"limits": {"max_in_flight": 2}})).await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    let rows = scene.rows(&rollout).await;
    assert_eq!(at_once(rows.iter()), 2);
    assert_eq!(scene.running("v2"), 6);
}

pub(crate) async fn the_rate_rises_with_each_success(tier: Arc<Tier>) {
    let scene = Scene::of(&tier, "rate", 6, |_, device| device).await;
    let ramp = json!({"base": 2, "factor": 10, "after_successes": 1});
    scene.policy(json!({"limits": {"per_minute": ramp}})).await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    let rows = scene.rows(&rollout).await;
    let first = rows
        .iter()
        .map(|row| time(&row["judged_at"]))
        .min()
        .unwrap();
    let before = rows.iter().filter(|row| time(&row["admitted_at"]) < first);
    assert_eq!(before.count(), 2, "{rows:#?}");
}

pub(crate) async fn of_a_pair_one_is_there_at_any_time(tier: Arc<Tier>) {
    let site = |index: usize| json!({"site": format!("site-{}", index / 2)});
    let scene = Scene::tagged(&tier, "pairs", 6, |_, device| device, site).await;
    scene
        .policy(json!({"limits": {"max_unavailable": {"site": 1}}}))
        .await;
    let rollout = scene.ship("v2").await;
    scene.rests(&rollout, "completed").await;
    let rows = scene.rows(&rollout).await;
    for pair in scene.uuids.chunks(2) {
        let names: Vec<String> = pair.iter().map(ToString::to_string).collect();
        let of = rows
            .iter()
            .filter(|row| names.iter().any(|name| row["device_uuid"] == *name));
        assert_eq!(at_once(of), 1, "{pair:?}");
    }
    assert_eq!(scene.running("v2"), 6);
}
